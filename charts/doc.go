// Package charts tests the alerts and the dashboard in observability, by promtool (make
// test-alerts) and by docs/metrics.md, and the Helm chart, by what helm makes of it (make
// test-chart). Whether a cluster takes it is tested where there is one, in package
// interop.
package charts
