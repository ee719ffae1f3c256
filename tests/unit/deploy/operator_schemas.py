"""JSON Schemas of the fields that our resources of the operators use, and of no other field.

Written by hand from the CustomResourceDefinitions of
- RabbitMQ Cluster Operator 2.22, rabbitmq.com_rabbitmqclusters.yaml (v1beta1)
- CloudNativePG 1.30, postgresql.cnpg.io_{clusters,poolers,scheduledbackups}.yaml (v1)
- Prometheus Operator, monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml (v1)

A field that is not here is refused: look it up in the definition, then add it.
"""

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_TRUTH: Schema = {"type": "boolean"}
_QUANTITY: Schema = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?$"}
_DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(ms|[smhdwy]))+$"}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": items}


def _named(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _count(least: int) -> Schema:
    return {"type": "integer", "minimum": least}


def _one_of(*values: str) -> Schema:
    return {"enum": list(values)}


def _resource(api_version: str, kind: str, spec: Schema) -> Schema:
    metadata = _object(("name", "namespace"), name=_TEXT, namespace=_TEXT, labels=_named(_TEXT))
    return _object(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": api_version},
        kind={"const": kind},
        metadata=metadata,
        spec=spec,
    )


_QUANTITIES = _object(("cpu", "memory"), cpu=_QUANTITY, memory=_QUANTITY)
_RESOURCES = _object(("requests", "limits"), requests=_QUANTITIES, limits=_QUANTITIES)
_SELECTOR = _object(("matchLabels",), matchLabels=_named(_TEXT))
_REFERENCE = _object(("name",), name=_TEXT)

RABBITMQ_CLUSTER = _resource(
    "rabbitmq.com/v1beta1",
    "RabbitmqCluster",
    _object(
        replicas=_count(0),
        image=_TEXT,
        persistence=_object(storage=_QUANTITY, storageClassName=_TEXT),
        resources=_RESOURCES,
        terminationGracePeriodSeconds=_count(0),
        rabbitmq=_object(additionalConfig={"type": "string", "maxLength": 2000}),
        affinity=_object(
            podAntiAffinity=_object(
                requiredDuringSchedulingIgnoredDuringExecution=_list(
                    _object(("topologyKey",), topologyKey=_TEXT, labelSelector=_SELECTOR)
                )
            )
        ),
        override=_object(
            statefulSet=_object(
                spec=_object(
                    template=_object(metadata=_object(labels=_named(_TEXT))),
                )
            )
        ),
    ),
)

POSTGRES_CLUSTER = _resource(
    "postgresql.cnpg.io/v1",
    "Cluster",
    _object(
        ("instances",),
        instances=_count(1),
        imageName=_TEXT,
        enableSuperuserAccess=_TRUTH,
        inheritedMetadata=_object(labels=_named(_TEXT)),
        bootstrap=_object(
            initdb=_object(
                database=_TEXT,
                owner=_TEXT,
                dataChecksums=_TRUTH,
                postInitSQL=_list(_TEXT),
                postInitApplicationSQL=_list(_TEXT),
            )
        ),
        managed=_object(
            roles=_list(
                _object(
                    ("name",),
                    name=_TEXT,
                    ensure=_one_of("present", "absent"),
                    login=_TRUTH,
                    passwordSecret=_REFERENCE,
                )
            )
        ),
        postgresql=_object(
            parameters=_named(_TEXT),
            synchronous=_object(
                ("method", "number"),
                method=_one_of("any", "first"),
                number=_count(1),
                dataDurability=_one_of("required", "preferred"),
            ),
        ),
        storage=_object(size=_QUANTITY, storageClass=_TEXT),
        walStorage=_object(size=_QUANTITY, storageClass=_TEXT),
        resources=_RESOURCES,
        affinity=_object(
            enablePodAntiAffinity=_TRUTH,
            podAntiAffinityType=_one_of("preferred", "required"),
            topologyKey=_TEXT,
        ),
        primaryUpdateStrategy=_one_of("unsupervised", "supervised"),
        primaryUpdateMethod=_one_of("switchover", "restart"),
        backup=_object(
            target=_one_of("primary", "prefer-standby"),
            volumeSnapshot=_object(
                className=_TEXT,
                online=_TRUTH,
                snapshotOwnerReference=_one_of("none", "backup", "cluster"),
            ),
        ),
    ),
)

POOLER = _resource(
    "postgresql.cnpg.io/v1",
    "Pooler",
    _object(
        ("cluster", "pgbouncer"),
        cluster=_REFERENCE,
        instances=_count(1),
        type=_one_of("rw", "ro", "r"),
        template=_object(
            metadata=_object(labels=_named(_TEXT)),
            spec=_object(
                ("containers",),
                containers={"type": "array", "maxItems": 0},
                affinity=_object(
                    podAntiAffinity=_object(
                        preferredDuringSchedulingIgnoredDuringExecution=_list(
                            _object(
                                ("weight", "podAffinityTerm"),
                                weight=_count(1),
                                podAffinityTerm=_object(
                                    ("topologyKey",), topologyKey=_TEXT, labelSelector=_SELECTOR
                                ),
                            )
                        )
                    )
                ),
            ),
        ),
        pgbouncer=_object(
            ("poolMode",), poolMode=_one_of("session", "transaction"), parameters=_named(_TEXT)
        ),
    ),
)

SCHEDULED_BACKUP = _resource(
    "postgresql.cnpg.io/v1",
    "ScheduledBackup",
    _object(
        ("cluster", "schedule"),
        # Six fields: the first is the second.
        schedule={"type": "string", "pattern": r"^\S+( \S+){5}$"},
        method=_one_of("barmanObjectStore", "volumeSnapshot", "plugin"),
        backupOwnerReference=_one_of("none", "self", "cluster"),
        cluster=_REFERENCE,
    ),
)

SERVICE_MONITOR = _resource(
    "monitoring.coreos.com/v1",
    "ServiceMonitor",
    _object(
        ("endpoints", "selector"),
        selector=_SELECTOR,
        endpoints=_list(
            _object(port=_TEXT, path=_TEXT, interval=_DURATION, params=_named(_list(_TEXT)))
        ),
    ),
)

PROMETHEUS_RULE = _resource(
    "monitoring.coreos.com/v1",
    "PrometheusRule",
    _object(
        groups=_list(
            _object(
                ("name",),
                name=_TEXT,
                rules=_list(
                    _object(
                        ("expr",),
                        alert=_TEXT,
                        expr=_TEXT,
                        labels=_named(_TEXT),
                        annotations=_named(_TEXT),
                        **{"for": _DURATION},
                    )
                ),
            )
        )
    ),
)

SCHEMAS: dict[str, Schema] = {
    schema["properties"]["kind"]["const"]: schema
    for schema in (
        RABBITMQ_CLUSTER,
        POSTGRES_CLUSTER,
        POOLER,
        SCHEDULED_BACKUP,
        SERVICE_MONITOR,
        PROMETHEUS_RULE,
    )
}
