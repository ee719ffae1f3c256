{{- /* The content of the ConfigMap wa-settings, and the passwords. */}}
{{- define "wa.settings" -}}
{{- $pg := .Values.postgres }}
{{- $host := $pg.bundled | ternary "wa-postgres" $pg.host }}
{{- $options := $pg.bundled | ternary "?sslmode=disable" $pg.options }}
{{- range $name, $value := .Values.settings }}
{{ $name }}: {{ $value | quote }}
{{- end }}
POSTGRES_HOST: {{ required "Name your Postgres (postgres.host), or have one made for a trial (postgres.bundled=true)." $host | quote }}
POSTGRES_OPTIONS: {{ $options | quote }}
DEVICE_STORE_HOST: {{ $pg.deviceStoreHost | default $host | quote }}
DEVICE_STORE_OPTIONS: {{ $pg.deviceStoreOptions | default $options | quote }}
RABBITMQ_HOST: {{ required "Name your RabbitMQ (rabbitmq.host), or have one made for a trial (rabbitmq.bundled=true)." (.Values.rabbitmq.bundled | ternary "wa-rabbitmq" .Values.rabbitmq.host) | quote }}
{{- end }}

{{- /* A Secret with the fields of `data`. An empty field is made once and kept; an existing Secret stays. */}}
{{- define "wa.secret" -}}
{{- $there := (lookup "v1" "Secret" .root.Release.Namespace .name) }}
apiVersion: v1
kind: Secret
metadata:
  name: {{ .name }}
  labels:
    app.kubernetes.io/part-of: whatsapp-sessions
  annotations:
    helm.sh/resource-policy: keep
type: {{ .type }}
data:
{{- range $key, $value := .data }}
  {{ $key }}: {{ (index ($there.data | default dict) $key) | default (($value | default (randAlphaNum 48)) | b64enc) }}
{{- end }}
{{- end }}
