"""Event documents of the shapes that cameras send."""

from __future__ import annotations


def document(
    topic: str,
    source: dict[str, str],
    data: dict[str, str],
    operation: str = "Changed",
    *,
    tns1: str = "tns1",
    axis: str = "tnsaxis",
) -> bytes:
    def items(values: dict[str, str]) -> str:
        return "".join(f'<tt:SimpleItem Name="{n}" Value="{v}"/>' for n, v in values.items())

    change = f' PropertyOperation="{operation}"' if operation else ""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema"><tt:Event><wsnt:NotificationMessage
 xmlns:{tns1}="http://www.onvif.org/ver10/topics" xmlns:{axis}="http://www.axis.com/2009/event/topics"
 xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2" xmlns:wsa5="http://www.w3.org/2005/08/addressing">
<wsnt:Topic Dialect="http://docs.oasis-open.org/wsn/t-1/TopicExpression/Simple">{topic}</wsnt:Topic>
<wsnt:ProducerReference><wsa5:Address>uri://0/ProducerReference</wsa5:Address></wsnt:ProducerReference>
<wsnt:Message><tt:Message UtcTime="2026-05-04T12:00:00.1Z"{change}><tt:Source>{items(source)}</tt:Source><tt:Key/>
<tt:Data>{items(data)}</tt:Data></tt:Message></wsnt:Message></wsnt:NotificationMessage></tt:Event></tt:MetadataStream>
""".encode()


def motion(active: bool, profile: int = 1, operation: str = "Changed") -> bytes:
    topic = f"tnsaxis:CameraApplicationPlatform/VMD/Camera1Profile{profile}"
    return document(topic, {}, {"active": str(int(active))}, operation)
