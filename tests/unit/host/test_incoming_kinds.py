"""Each field of WhatsApp's message has a decision: its type, a change, a wrapper, silence, or none."""

from collections import Counter

from tests.whatsapp.protobufs import Message
from wa_session_host.engine.neonize.incoming import CHANGES, KINDS, SILENT, WRAPPERS

UNSUPPORTED = [
    "sendPaymentMessage",
    "requestPaymentMessage",
    "declinePaymentRequestMessage",
    "cancelPaymentRequestMessage",
    "invoiceMessage",
    "paymentInviteMessage",
    "paymentReminderMessage",
    "splitPaymentMessage",
    "splitPaymentUpdateMessage",
    "keepInChatMessage",
    "requestPhoneNumberMessage",
    "encReactionMessage",
    "scheduledCallCreationMessage",
    "scheduledCallEditMessage",
    "pinInChatMessage",
    "callLogMesssage",
    "encCommentMessage",
    "bcallMessage",
    "encEventResponseMessage",
    "commentMessage",
    "newsletterAdminInviteMessage",
    "secretEncryptedMessage",
    "albumMessage",
    "eventCoverImage",
    "stickerPackMessage",
    "statusMentionMessage",
    "pollResultSnapshotMessage",
    "pollCreationOptionImageMessage",
    "groupStatusMentionMessage",
    "pollCreationMessageV4",
    "statusAddYours",
    "groupStatusMessage",
    "richResponseMessage",
    "statusNotificationMessage",
    "botTaskMessage",
    "questionMessage",
    "groupStatusMessageV2",
    "botForwardedMessage",
    "statusQuestionAnswerMessage",
    "questionReplyMessage",
    "questionResponseMessage",
    "statusQuotedMessage",
    "statusStickerInteractionMessage",
    "newsletterFollowerInviteMessageV2",
    "pollResultSnapshotMessageV3",
    "newsletterAdminProfileMessage",
    "pollCreationMessageV6",
    "conditionalRevealMessage",
    "pollAddOptionMessage",
    "eventInviteMessage",
    "newsletterAdminProfileStatusMessage",
    "musicMessage",
    "newsletterScheduledMessage",
    "audioStickerMessage",
]
"""Told as `unsupported`, with this name."""


def test_every_field_has_one_decision() -> None:
    decided = Counter([*KINDS, *CHANGES, *WRAPPERS, *SILENT, *UNSUPPORTED])
    assert {name for name, times in decided.items() if times > 1} == set()
    assert set(decided) == {field.name for field in Message.DESCRIPTOR.fields}
