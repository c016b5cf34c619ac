{{- define "claimgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* The name of the objects: short enough for the suffixes -headless and -metrics. */ -}}
{{- define "claimgate.fullname" -}}
{{- $name := include "claimgate.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "claimgate.selector" -}}
app.kubernetes.io/name: {{ include "claimgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "claimgate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "claimgate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "claimgate.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "claimgate.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "claimgate.tlsSecret" -}}
{{- if .Values.tls.secretName -}}
{{- .Values.tls.secretName -}}
{{- else if .Values.tls.certManager.enabled -}}
{{- include "claimgate.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{- /* The configuration file: the value config, and the certificate that the chart mounts. */ -}}
{{- define "claimgate.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if and (include "claimgate.tlsSecret" .) (not $config.server.tls) -}}
{{- $tls := dict "certFile" "/etc/claimgate/tls/tls.crt" "keyFile" "/etc/claimgate/tls/tls.key" -}}
{{- with .Values.tls.clientCAKey -}}
{{- $_ := set $tls "clientCAFile" (printf "/etc/claimgate/tls/%s" .) -}}
{{- end -}}
{{- with .Values.tls.clientNames -}}
{{- $_ := set $tls "clientNames" . -}}
{{- end -}}
{{- $_ := set $config.server "tls" $tls -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- /* All names under any headers of the configuration, a list in JSON: the gate's own first. */ -}}
{{- define "claimgate.identityHeaders" -}}
{{- $more := keys (.Values.config.headers | default dict) -}}
{{- range .Values.config.policies -}}
{{- $more = concat $more (keys (.headers | default dict)) -}}
{{- end -}}
{{- $names := list "x-auth-issuer" "x-auth-subject" "x-auth-client" "x-auth-scopes" -}}
{{- range $more | sortAlpha -}}
{{- $names = append $names (lower .) -}}
{{- end -}}
{{- uniq $names | toJson -}}
{{- end -}}

{{- /* The port of an address to listen on. */ -}}
{{- define "claimgate.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{- /* A duration such as 1m30s in seconds, rounded up. */ -}}
{{- define "claimgate.seconds" -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ns|us|µs|ms|s|m|h)" (toString .) -1 -}}
{{- $number := regexFind "^[0-9.]+" . | float64 -}}
{{- $unit := regexFind "[a-zµ]+$" . -}}
{{- $sum = addf $sum (mulf $number (index (dict "h" 3600.0 "m" 60.0 "s" 1.0 "ms" 0.001 "us" 0.000001 "µs" 0.000001 "ns" 0.000000001) $unit)) -}}
{{- end -}}
{{- ceil $sum | int -}}
{{- end -}}

{{- /* How long a pod takes to end in order, in seconds. The defaults are the program's. */ -}}
{{- define "claimgate.drain" -}}
{{- $delay := include "claimgate.seconds" (.Values.config.server.drainDelay | default "5s") -}}
{{- if hasKey .Values.config.server "drainDelay" -}}{{- $delay = include "claimgate.seconds" .Values.config.server.drainDelay -}}{{- end -}}
{{- $timeout := include "claimgate.seconds" "20s" -}}
{{- if hasKey .Values.config.server "drainTimeout" -}}{{- $timeout = include "claimgate.seconds" .Values.config.server.drainTimeout -}}{{- end -}}
{{- add (int $delay) (int $timeout) -}}
{{- end -}}

{{- define "claimgate.gracePeriod" -}}
{{- $drain := include "claimgate.drain" . | int -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- add $drain 10 -}}
{{- else -}}
{{- int .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{- /* Nine tenths of a quantity of memory, in bytes; nothing if it has no unit that we know. */ -}}
{{- define "claimgate.memoryLimit" -}}
{{- $text := kindIs "float64" . | ternary (int64 .) . | toString -}}
{{- if regexMatch "^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|k|M|G)?$" $text -}}
{{- $unit := regexFind "[A-Za-z]+$" $text -}}
{{- $factor := index (dict "" 1.0 "k" 1000.0 "M" 1000000.0 "G" 1000000000.0 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0) $unit -}}
{{- mulf 0.9 (regexFind "^[0-9.]+" $text | float64) $factor | floor | int64 -}}
{{- end -}}
{{- end -}}

{{- /* What no schema can say. */ -}}
{{- define "claimgate.check" -}}
{{- $server := .Values.config.server -}}
{{- range $name, $listen := dict "server" $server.listen "admin" .Values.config.admin.listen -}}
{{- if not (regexMatch "^(|0\\.0\\.0\\.0|\\[::\\]):[1-9][0-9]*$" $listen) -}}
{{- fail (printf "config.%s.listen is %q, where nobody outside of the pod reaches the gate: write a colon and a port, such as %q" $name $listen (ternary ":9191" ":9190" (eq $name "server"))) -}}
{{- end -}}
{{- end -}}
{{- if not (or (include "claimgate.tlsSecret" .) $server.tls $server.insecure) -}}
{{- fail "the gate has no certificate: name one in tls.secretName, have one made with tls.certManager, or write config.server.insecure: true, and whoever is on the way reads the tokens" -}}
{{- end -}}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef.name is missing: it names the Issuer or ClusterIssuer that makes the certificate" -}}
{{- end -}}
{{- if and (or .Values.tls.clientCAKey .Values.tls.clientNames) (not (include "claimgate.tlsSecret" .)) -}}
{{- fail "tls.clientCAKey and tls.clientNames are for a certificate of the chart: name it in tls.secretName, or write config.server.tls" -}}
{{- end -}}
{{- if and .Values.tls.clientNames (not .Values.tls.clientCAKey) -}}
{{- fail "tls.clientNames needs tls.clientCAKey: without an authority of clients nobody shows a name" -}}
{{- end -}}
{{- $drain := include "claimgate.drain" . | int -}}
{{- if le (include "claimgate.gracePeriod" . | int) $drain -}}
{{- fail (printf "terminationGracePeriodSeconds is %s, and config.server.drainDelay and drainTimeout are %d seconds: the kubelet would kill the gate at work; leave it out, or write more than %d" (include "claimgate.gracePeriod" .) $drain $drain) -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas is %d, more than maxReplicas, %d" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and .Values.istio.authorizationPolicy.enabled (not .Values.istio.authorizationPolicy.rules) -}}
{{- fail "istio.authorizationPolicy.rules is empty, so that nothing would be checked: write [{}] for all requests" -}}
{{- end -}}
{{- if and .Values.istio.envoyFilter.enabled (not .Values.istio.authorizationPolicy.enabled) -}}
{{- fail "istio.envoyFilter patches the filter that istio.authorizationPolicy makes: enable both, or apply envoy-config/istio by hand" -}}
{{- end -}}
{{- if and .Values.envoyGateway.securityPolicy.enabled (not .Values.envoyGateway.securityPolicy.targetRefs) -}}
{{- fail "envoyGateway.securityPolicy.targetRefs is empty: name the routes or Gateways that the gate is for" -}}
{{- end -}}
{{- if and .Values.envoyGateway.clientTrafficPolicy.enabled (not .Values.envoyGateway.clientTrafficPolicy.targetRefs) -}}
{{- fail "envoyGateway.clientTrafficPolicy.targetRefs is empty: name the Gateways whose clients it is about" -}}
{{- end -}}
{{- $tlsPolicy := .Values.envoyGateway.backendTLSPolicy -}}
{{- if and $tlsPolicy.enabled (not $tlsPolicy.caConfigMap) -}}
{{- fail "envoyGateway.backendTLSPolicy.caConfigMap is empty: name the ConfigMap with the CA of the gate's certificate" -}}
{{- end -}}
{{- if and $tlsPolicy.enabled (not (or (include "claimgate.tlsSecret" .) $server.tls)) -}}
{{- fail "envoyGateway.backendTLSPolicy is for a gate that has a certificate: name it in tls.secretName" -}}
{{- end -}}
{{- end -}}
