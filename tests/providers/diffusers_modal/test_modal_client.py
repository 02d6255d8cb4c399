"""The client of Modal's: opened when it is needed, closed when it is not."""

import logging

from providers.diffusers_modal.modal_client import Connection


class Stuck:
    """A client of Modal's that does not close."""

    class close:  # noqa: N801 - as Modal spells it: `client.close.aio()`
        @staticmethod
        async def aio() -> None:
            raise OSError("the line is dead")


async def test_a_client_that_does_not_close_is_let_go_and_told(caplog):
    connection = Connection({}, provider="diffusers", connect_s=1.0)
    connection._client = Stuck()
    with caplog.at_level(logging.WARNING):
        await connection.aclose()
        await connection.aclose()
    (record,) = caplog.records
    assert "did not close" in record.message
    assert "the line is dead" in caplog.text
