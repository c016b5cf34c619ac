package extauthz

import "strings"

// Request is all that the gate looks at of a request. It is a view: a front
// (gRPC today) fills it from what its host gives it, and the engine keeps
// nothing of it beyond the call.
type Request struct {
	Method string
	Host   string // the authority, as the client sent it
	Path   string // the request target with its query; "" if there is none (CONNECT)
	Scheme string

	Headers Headers

	SourceAddress   string            // address of the peer of the connection
	SourcePrincipal string            // identity in the peer's certificate, "" without one
	Context         map[string]string // Envoy's context_extensions
	Routes          []Route           // what Envoy Gateway made the request's route of, empty if it does not say
	ID              string            // Envoy's id of the stream; the same for a retried check
}

// Headers gives access to a request's headers. An implementation is read by one
// goroutine at a time and must not change while a check runs.
type Headers interface {
	// Get returns the value of the header with that lower-case name and how
	// often it occurs. Several values are joined by a comma, as Envoy does, so
	// that a verdict does not depend on how they were transported. The count of
	// an absent header is 0.
	Get(name string) (value string, count int)
	// Names calls yield with each header's name as the client sent it, pseudo
	// headers included, until yield returns false.
	Names(yield func(name string) bool)
}

// Header is a request or response header with its value.
type Header struct {
	Name  string
	Value string
}

// headerList is headers as they came, one by one: duplicates kept, bytes
// untouched.
type headerList []Header

// Get implements Headers.
func (l headerList) Get(name string) (string, int) {
	value, count := "", 0
	for i := range l {
		if len(l[i].Name) != len(name) || !strings.EqualFold(l[i].Name, name) {
			continue
		}
		if count == 0 {
			value = l[i].Value
		} else {
			value += "," + l[i].Value
		}
		count++
	}
	return value, count
}

// Names implements Headers.
func (l headerList) Names(yield func(string) bool) {
	for i := range l {
		if !yield(l[i].Name) {
			return
		}
	}
}
