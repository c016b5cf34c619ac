// Package browser holds the test of the status page in a real Chromium: make
// test-page.
package browser
