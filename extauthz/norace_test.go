//go:build !race

package extauthz

const raceDetector = false
