"""Questions to WhatsApp through a session that works."""

from uuid import UUID

from wa_api.http.problems import Problem, not_found
from wa_api.owners.requests import OwnerRequests, OwnerSilent
from wa_api.sessions.views import SessionViews
from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import AskWhatsApp
from wa_contracts.internal.questions import Answer, Question
from wa_contracts.internal.replies import Reply

ANSWER_SECONDS = 30.0
"""Slightly more than the engine's own limit."""


class SessionQuestions:
    """Asks the session's owner.

    Methods raise DatabaseUnavailable, BrokerUnavailable, ConfirmLost, OwnerRefused, OwnerSilent.
    """

    def __init__(self, requests: OwnerRequests, views: SessionViews) -> None:
        self._requests = requests
        self._views = views

    async def ask(self, session_id: UUID, question: Question) -> Answer:
        """The answer.

        Raises:
            Problem: 404; 409 unless the session works.
        """
        session = await self._views.session(session_id)
        if session is None:
            raise not_found("session")
        if not session.is_logged_in:
            raise Problem(
                f"session_{session.status}",
                f"Only a session that works can ask WhatsApp; this one is {session.status}. "
                "Try again when it works.",
            )
        command = self._requests.command(AskWhatsApp, SessionId(session_id), question=question)
        reply = await self._requests.ask(command, seconds=ANSWER_SECONDS)
        if not isinstance(reply, Reply) or reply.answer is None:
            raise OwnerSilent
        return reply.answer
