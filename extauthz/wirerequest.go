package extauthz

import (
	"sync"
	"unicode/utf8"
	"unsafe"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// wireRequest reads of a CheckRequest's bytes what a check needs, and skips the
// rest: full decoding builds some sixty objects, of which a check looks at ten.
// Whatever is not as Envoy writes it (a message in two parts, a header twice in
// the map, invalid UTF-8) is left to full decoding; FuzzWireRequest compares the
// two.
type wireRequest struct {
	data    []byte // owned by the request, and never changed
	request Request
	headers wireHeaders
	routes  []Route
}

var wireRequests = sync.Pool{New: func() any { return new(wireRequest) }}

func newWireRequest() *wireRequest { return wireRequests.Get().(*wireRequest) }

// release gives w back. Texts that were read from it stay good; the Request does
// not.
func (w *wireRequest) release() {
	clear(w.headers.headerList)
	w.headers.reset()
	clear(w.routes)
	w.data, w.request = nil, Request{}
	wireRequests.Put(w)
}

// The numbers of the fields that are read (envoy/service/auth/v3, config/core/v3).
const (
	numberAttributes = 1 // of CheckRequest

	numberSource  = 1 // of AttributeContext
	numberRequest = 4
	numberContext = 10
	numberRoute   = 13

	numberPeerAddress   = 1 // of Peer
	numberPeerPrincipal = 4
	numberSocketAddress = 1 // of Address
	numberAddressText   = 2 // of SocketAddress

	numberHTTP = 2 // of Request

	numberID        = 1 // of HttpRequest
	numberMethod    = 2
	numberHeaders   = 3
	numberPath      = 4
	numberHost      = 5
	numberScheme    = 6
	numberHeaderMap = 13

	numberKey      = 1 // of a map's entry, and of HeaderValue
	numberValue    = 2
	numberRawValue = 3 // of HeaderValue

	numberFilterMetadata = 1 // of Metadata
	numberFields         = 1 // of Struct
	numberText           = 3 // of Value
	numberStruct         = 5
	numberList           = 6
	numberValues         = 1 // of ListValue
)

// read returns the request, and false if there are no HTTP attributes.
func (w *wireRequest) read(data []byte) (r *Request, isHTTP bool) {
	w.data = data
	w.request = Request{}
	w.headers.reset()
	w.routes = w.routes[:0]
	if isHTTP, ok := w.check(wireReader{data: data, end: len(data)}); ok {
		w.request.Headers = &w.headers
		w.request.Routes = w.routes
		return &w.request, isHTTP
	}
	return w.readFully()
}

// readFully decodes everything, as stock gRPC does. Bytes that are no
// CheckRequest are one without HTTP attributes: denied like any other, where a
// gRPC error could let the request pass.
func (w *wireRequest) readFully() (*Request, bool) {
	req := &authv3.CheckRequest{}
	if err := proto.Unmarshal(w.data, req); err != nil {
		w.request = Request{}
		return &w.request, false
	}
	var isHTTP bool
	w.request, isHTTP = decode(req)
	return &w.request, isHTTP
}

// text returns a part of the message without copying it, false if it is not
// valid UTF-8 and so no protobuf string.
func (w *wireRequest) text(from, to int) (string, bool) {
	s := w.raw(from, to)
	return s, utf8.ValidString(s)
}

func (w *wireRequest) raw(from, to int) string {
	if from == to {
		return ""
	}
	return unsafe.String(&w.data[from], to-from) //nolint:gosec // data is not changed any more
}

// Each of the following reads one message, and returns ok false where full
// decoding has to look.

func (w *wireRequest) check(r wireReader) (isHTTP, ok bool) {
	seen := false
	for {
		number, from, to, more := r.next()
		if !more {
			return isHTTP, !r.bad
		}
		if number != numberAttributes {
			continue
		}
		if seen {
			return false, false
		}
		seen = true
		if isHTTP, ok = w.attributes(r.sub(from, to)); !ok {
			return false, false
		}
	}
}

func (w *wireRequest) attributes(r wireReader) (isHTTP, ok bool) {
	source, request, route := false, false, false
	for {
		number, from, to, more := r.next()
		if !more {
			return isHTTP, !r.bad
		}
		ok = true
		switch number {
		case numberSource:
			ok = !source && w.peer(r.sub(from, to))
			source = true
		case numberRequest:
			if request {
				return false, false
			}
			request = true
			isHTTP, ok = w.requestMessage(r.sub(from, to))
		case numberContext:
			var key, value string
			key, value, ok = w.entry(r.sub(from, to))
			if w.request.Context == nil {
				w.request.Context = map[string]string{}
			}
			w.request.Context[key] = value
		case numberRoute:
			ok = !route && w.routeMetadata(r.sub(from, to))
			route = true
		}
		if !ok {
			return false, false
		}
	}
}

func (w *wireRequest) peer(r wireReader) bool {
	seen := false
	for {
		number, from, to, more := r.next()
		if !more {
			return !r.bad
		}
		ok := true
		switch number {
		case numberPeerAddress:
			ok = !seen && w.address(r.sub(from, to))
			seen = true
		case numberPeerPrincipal:
			w.request.SourcePrincipal, ok = w.text(from, to)
		}
		if !ok {
			return false
		}
	}
}

// address reads a socket address; the other kinds are rare and left alone.
func (w *wireRequest) address(r wireReader) bool {
	number, from, to, more := r.next()
	if !more {
		return !r.bad
	}
	if number != numberSocketAddress {
		return false
	}
	socket := r.sub(from, to)
	for {
		number, from, to, more := socket.next()
		if !more {
			break
		}
		if number == numberAddressText {
			var ok bool
			if w.request.SourceAddress, ok = w.text(from, to); !ok {
				return false
			}
		}
	}
	_, _, _, another := r.next()
	return !another && !r.bad && !socket.bad
}

func (w *wireRequest) requestMessage(r wireReader) (isHTTP, ok bool) {
	for {
		number, from, to, more := r.next()
		if !more {
			return isHTTP, !r.bad
		}
		if number != numberHTTP {
			continue
		}
		if isHTTP || !w.http(r.sub(from, to)) {
			return false, false
		}
		isHTTP = true
	}
}

func (w *wireRequest) http(r wireReader) bool {
	list := false
	for {
		number, from, to, more := r.next()
		if !more {
			break
		}
		ok := true
		switch number {
		case numberID:
			w.request.ID, ok = w.text(from, to)
		case numberMethod:
			w.request.Method, ok = w.text(from, to)
		case numberPath:
			w.request.Path, ok = w.text(from, to)
		case numberHost:
			w.request.Host, ok = w.text(from, to)
		case numberScheme:
			w.request.Scheme, ok = w.text(from, to)
		case numberHeaders:
			var name, value string
			name, value, ok = w.entry(r.sub(from, to))
			w.headers.add(name, value)
		case numberHeaderMap:
			ok = !list && w.rawHeaders(r.sub(from, to))
			list = true
		}
		if !ok {
			return false
		}
	}
	// A map that Envoy made has each name once, in lower case. With both
	// encodings at once, full decoding knows how to read them as one.
	return !r.bad && (list && len(w.headers.headerList) == w.headers.fromList || !list && w.headers.isMap())
}

func (w *wireRequest) rawHeaders(r wireReader) bool {
	for {
		number, from, to, more := r.next()
		if !more {
			return !r.bad
		}
		if number != numberKey { // headers of HeaderMap is its field 1
			continue
		}
		header := r.sub(from, to)
		var name, value, raw string
		for {
			number, from, to, more := header.next()
			if !more {
				break
			}
			ok := true
			switch number {
			case numberKey:
				name, ok = w.text(from, to)
			case numberValue:
				value, ok = w.text(from, to)
			case numberRawValue:
				raw = w.raw(from, to)
			}
			if !ok {
				return false
			}
		}
		if header.bad {
			return false
		}
		if raw != "" {
			value = raw
		}
		w.headers.add(name, value)
		w.headers.fromList++
	}
}

// entry reads one entry of a map of strings.
func (w *wireRequest) entry(r wireReader) (key, value string, ok bool) {
	for {
		number, from, to, more := r.next()
		if !more {
			return key, value, !r.bad
		}
		ok = true
		switch number {
		case numberKey:
			key, ok = w.text(from, to)
		case numberValue:
			value, ok = w.text(from, to)
		}
		if !ok {
			return "", "", false
		}
	}
}

// wireReader steps through the length-delimited fields of a message. Fields of
// other types are skipped: none of them is read, and to protobuf too, a known
// field of another type is an unknown one.
type wireReader struct {
	data     []byte
	pos, end int
	bad      bool // the bytes are no message
}

func (r *wireReader) sub(from, to int) wireReader {
	return wireReader{data: r.data, pos: from, end: to}
}

func (r *wireReader) next() (field, from, to int, more bool) {
	// Almost all fields have a number below 16 and a length of one or two bytes.
	if at := r.pos; at+3 <= r.end && r.data[at] < 0x80 && r.data[at]&7 == byte(protowire.BytesType) && r.data[at] >= 1<<3 {
		n := int(r.data[at+1])
		from = at + 2
		if n >= 0x80 {
			n = n&0x7f | int(r.data[at+2])<<7
			from++
		}
		if r.data[from-1] < 0x80 && n <= r.end-from {
			r.pos = from + n
			return int(r.data[at] >> 3), from, r.pos, true
		}
	}
	for r.pos < r.end {
		rest := r.data[r.pos:r.end]
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			break
		}
		if kind != protowire.BytesType {
			size := protowire.ConsumeFieldValue(number, kind, rest[n:])
			if size < 0 {
				break
			}
			r.pos += n + size
			continue
		}
		value, size := protowire.ConsumeBytes(rest[n:])
		if size < 0 {
			break
		}
		r.pos += n + size
		return int(number), r.pos - len(value), r.pos, true
	}
	r.bad = r.pos < r.end
	r.end = r.pos
	return 0, 0, 0, false
}

// wireHeaders are the headers of a wireRequest, in either encoding.
type wireHeaders struct {
	headerList
	fromList int // how many are from a header_map
}

func (h *wireHeaders) reset() { h.headerList, h.fromList = h.headerList[:0], 0 }

func (h *wireHeaders) add(name, value string) {
	h.headerList = append(h.headerList, Header{name, value})
}

// manyHeaders are more than Envoy lets through (100 by default). Past it, comparing
// each name with each other would be a way to keep us busy.
const manyHeaders = 256

// isMap reports whether each name is there once and in lower case.
func (h *wireHeaders) isMap() bool {
	if len(h.headerList) > manyHeaders {
		return false
	}
	for i := range h.headerList {
		name := h.headerList[i].Name
		for j := 0; j < len(name); j++ {
			if c := name[j]; c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf {
				return false
			}
		}
		for j := range i {
			if h.headerList[j].Name == name {
				return false
			}
		}
	}
	return true
}
