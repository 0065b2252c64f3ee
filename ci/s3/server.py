"""moto's server, with what it lacks: it looks whether a name is taken and takes it in two steps, and between them another
thread may do the same. Then two of a race for a name are told that it is theirs, about once in some thousand races. S3
does not do that."""

import threading

from moto.s3 import responses
from moto.server import main

one_at_a_time = threading.Lock()
put = responses.S3Response._key_response_put


def alone(self, *arguments, **named):
    with one_at_a_time:
        return put(self, *arguments, **named)


responses.S3Response._key_response_put = alone
main()
