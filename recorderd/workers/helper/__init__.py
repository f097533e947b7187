"""`recorderd-helper`: the few things that need root, behind a socket that only the daemon may use.

A closed list of verbs (`recorderd.protocol.helper`), one request per connection. Every argument is checked here again: the daemon speaks to
the network and may be in other hands. Nothing is run through a shell; programs are called by absolute path with an empty environment.
"""
