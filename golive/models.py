"""The tables: two singletons, the event log, tokens and credential failures. Fields and constraints only.

Reads go through `golive.state`, writes through `golive.controls`; nothing else touches the two rows.
Defaults are set in the database and on the model: raw SQL gets the safe values, and an unsaved instance is safe too
(with `db_default` alone its fields would be truthy placeholders).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA

if TYPE_CHECKING:
    # The type checker sees Django's own field, which has the same types.
    from django.db.models import DateTimeField as UtcDateTimeField
else:
    from golive.fields import UtcDateTimeField

SINGLETON_ID = 1


class SystemMetadata(models.Model):
    """The guarded backend: its version, and whether it is complete. One row, id 1."""

    id = models.IntegerField(primary_key=True, default=SINGLETON_ID)
    version = models.TextField(default="1.0.0", db_default="1.0.0")
    backend_complete = models.BooleanField(default=False, db_default=False)
    notes = models.TextField(null=True, blank=True)  # noqa: DJ001 - the contract's column is NULL when there are none
    updated_at = UtcDateTimeField(null=True, editable=False)
    completed_at = UtcDateTimeField(null=True, editable=False)
    revision = models.BigIntegerField(default=1, db_default=1, editable=False)

    class Meta:
        db_table = SYSTEM_METADATA
        verbose_name = "system status"
        verbose_name_plural = "system status"
        default_permissions = ("view",)
        permissions = (("complete_backend", "Can mark the backend complete, reopen it, and edit version and notes"),)
        constraints = (models.CheckConstraint(condition=Q(id=SINGLETON_ID), name="system_metadata_singleton"),)

    def __str__(self) -> str:
        return "System status"


class GoLiveState(models.Model):
    """Whether the guarded system may execute: both switches. One row, id 1. The kill switch starts engaged."""

    id = models.IntegerField(primary_key=True, default=SINGLETON_ID)
    go_live_enabled = models.BooleanField(default=False, db_default=False)
    kill_switch_engaged = models.BooleanField(default=True, db_default=True)
    changed_by = models.TextField(null=True, editable=False)  # noqa: DJ001 - NULL: nobody has changed it yet
    reason = models.TextField(null=True, editable=False)  # noqa: DJ001 - NULL: none was given
    updated_at = UtcDateTimeField(null=True, editable=False)
    revision = models.BigIntegerField(default=1, db_default=1, editable=False)
    lease_ms = models.IntegerField(default=250, db_default=250, editable=False)
    event_head = models.TextField(null=True, editable=False)  # noqa: DJ001 - NULL: no event yet
    # PostgreSQL's timeline at the last change; a different one means that the database has failed over since.
    timeline = models.IntegerField(null=True, editable=False)

    class Meta:
        db_table = GO_LIVE_STATE
        verbose_name = "go-live control"
        verbose_name_plural = "go-live control"
        default_permissions = ("view",)
        permissions = (
            ("engage_kill_switch", "Can engage the kill switch (stop execution)"),
            ("disable_go_live", "Can disable go-live (stop execution)"),
            ("release_kill_switch", "Can release the kill switch"),
            ("enable_go_live", "Can enable go-live"),
            ("override_checklist", "Can override a failing checklist"),
        )
        constraints = (
            models.CheckConstraint(condition=Q(id=SINGLETON_ID), name="go_live_state_singleton"),
            models.CheckConstraint(condition=Q(lease_ms__range=(0, 5000)), name="go_live_state_lease_range"),
        )

    def __str__(self) -> str:
        return "Go-live control"


class Event(models.Model):
    """An immutable event: a request to change a singleton, a deploy, an adoption, or a token made or revoked.

    `user_id` is a plain number, so that deleting a user deletes no events. Triggers, made by the migration, refuse
    UPDATE, DELETE and TRUNCATE. The hash is defined in `golive.domain.chain`.
    """

    sequence = models.BigIntegerField(primary_key=True)
    at = UtcDateTimeField()
    actor = models.TextField()
    user_id = models.BigIntegerField(null=True)
    on_behalf_of = models.TextField(null=True)  # noqa: DJ001 - NULL: acted in their own name
    channel = models.TextField()
    subject = models.TextField()
    action = models.TextField()
    reason = models.TextField()
    changed = models.BooleanField()
    override = models.BooleanField()
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    failed_checks = models.JSONField(null=True)
    request_id = models.TextField(null=True)  # noqa: DJ001 - NULL: not a request
    remote_addr = models.TextField(null=True)  # noqa: DJ001 - NULL: not a request
    # Random, so that the public hash confirms no guess at what is redacted. NULL in events of version 1.
    salt = models.TextField(null=True)  # noqa: DJ001 - NULL: hash_version 1
    hash_version = models.IntegerField()
    previous_hash = models.TextField(null=True, unique=True)  # noqa: DJ001 - NULL: the first event. Unique: no fork
    hash = models.TextField(unique=True)

    class Meta:
        db_table = "golive_event"
        ordering = ("-sequence",)
        default_permissions = ("view",)
        constraints = (models.CheckConstraint(condition=Q(sequence__gte=1), name="golive_event_sequence_positive"),)
        indexes = (
            models.Index(fields=("subject", "-sequence"), name="golive_event_subject"),
            # For the lookup by every stop and checklist: its cost does not grow with the event log.
            models.Index(
                fields=("subject", "-sequence"),
                name="golive_event_marks",
                condition=Q(action__in=("drift", "reconcile")),
            ),
        )

    def __str__(self) -> str:
        return f"Event {self.sequence}: {self.action}"


class ApiToken(models.Model):
    """A program's credential. Only a hash of its secret is stored; see `golive.identity.tokens`."""

    name = models.TextField()
    prefix = models.TextField(unique=True, editable=False)
    secret_hash = models.TextField(editable=False)
    scopes = models.JSONField()
    created_by = models.TextField(editable=False)
    created_at = UtcDateTimeField(editable=False)
    expires_at = UtcDateTimeField(null=True)
    last_used_at = UtcDateTimeField(null=True, editable=False)
    revoked_at = UtcDateTimeField(null=True, editable=False)
    revoked_by = models.TextField(null=True, editable=False)  # noqa: DJ001 - NULL: not revoked

    class Meta:
        db_table = "golive_apitoken"
        verbose_name = "API token"
        ordering = ("name", "-created_at")
        default_permissions = ("view", "add")
        permissions = (("revoke_apitoken", "Can revoke API token"),)
        constraints = (
            # A name belongs to one token at a time, because events identify the token by it.
            models.UniqueConstraint(
                fields=("name",), condition=Q(revoked_at__isnull=True), name="golive_apitoken_name_in_use"
            ),
        )

    def __str__(self) -> str:
        return self.name


class CredentialFailure(models.Model):
    """Count of failed credentials per address, or per account and address; see `golive.identity.throttle`."""

    address = models.TextField(primary_key=True)
    failures = models.IntegerField()
    ends_at_ms = models.BigIntegerField()

    class Meta:
        db_table = "golive_credential_failure"
        default_permissions = ()

    def __str__(self) -> str:
        return self.address
