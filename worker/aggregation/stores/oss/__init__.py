"""OSS, whose service joins objects itself: the only folder that imports oss2 and ossfs.

- store: the promise; joining and transfer do its work: objects joined, files of this machine fetched and sent
- assembly, multipart: one join by multipart upload, and one upload; parts: the plan; sources: what is read
- unfinished: uploads and intermediate objects to clean up; interference: other writers in the way
- bucket: what all of these share
- objects, uploads, listing: the operations, each sent by client, which alone tries again:
  tries times that, pace says how fast
- wire, connection, transport, endpoint: one request, on its way
- answers: what comes back, and what is tried again; marks: on what the worker has made
- credentials, renewal, roles, role_answers: who asks
"""
