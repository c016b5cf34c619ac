// Package release tests what users get: the container image, which is built, looked
// into and run, the binary, which is the same whoever builds it, and the archives.
// Its tests run where CLAIMGATE_RELEASE is set: see make test-release.
package release
