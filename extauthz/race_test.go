//go:build race

package extauthz

// raceDetector: under it a sync.Pool throws away a part of what it is given, so
// allocations say nothing about those that serve.
const raceDetector = true
