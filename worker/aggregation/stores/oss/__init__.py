"""OSS, whose service joins objects itself: the only folder that imports oss2 and ossfs.

- store: the promise; joining and transfer do its work: objects joined, files of this machine fetched and sent
- assembly, multipart: one join by multipart upload, and one upload; parts: the plan; sources: what is read;
  forecast: what a join will cost
- unfinished: uploads and intermediate objects to clean up; interference: other writers in the way
- bucket: what all of these share
- objects, uploads, listing: the operations, each sent by client, which alone tries again:
  tries times that, pace says how fast
- wire, connection, transport, endpoint: sending one request and reading its answer
- answers: what an answer means, and whether it is tried again; marks: how the worker knows its own objects
- credentials, renewal, roles, role_answers: the keys that sign requests, and where they come from
"""

# oss2 comes before any module of ours. CPython 3.11 maps a chunk of its stack whenever a call goes past the
# end of the last one, and unmaps it at the return. Deep in a chain of our imports that end lay within the
# loops that compile regular expressions of oss2's packages: 9,000 times, a fifth of a start.
import oss2  # noqa: F401
