// Package charts tests the Helm chart beside it, by what helm makes of it: see make
// test-chart. Whether a cluster takes it is tested where there is one, in package
// interop.
package charts
