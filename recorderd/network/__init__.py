"""Links, bridge, addresses and the camera LAN over netlink, as transactions; the owner of time."""
