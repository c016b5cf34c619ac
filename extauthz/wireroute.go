package extauthz

import "google.golang.org/protobuf/encoding/protowire"

// The short way through a route's metadata, to what routesOf makes of it. What is
// not there is no route; what is there and not as Envoy Gateway writes it is left
// to full decoding, as everywhere in wireRequest.

// routeMetadata reads a Metadata.
func (w *wireRequest) routeMetadata(r wireReader) bool {
	resources, there, ok := w.member(r, numberFilterMetadata, routeMetadataNamespace)
	if !there || !ok {
		return ok
	}
	value, there, ok := w.member(resources, numberFields, routeResourcesKey)
	if !there || !ok {
		return ok
	}
	number, list, ok := value.only()
	if !ok || number != numberList {
		return false
	}
	for {
		number, from, to, more := list.next()
		if !more {
			return !list.bad
		}
		if number == numberValues && !w.routeResource(list.sub(from, to)) {
			return false
		}
	}
}

// routeResource reads a Value that is an object with a kind, a namespace and a
// name.
func (w *wireRequest) routeResource(value wireReader) bool {
	number, object, ok := value.only()
	if !ok || number != numberStruct || len(w.routes) == maxRoutes {
		return false
	}
	var route Route
	for _, field := range [...]struct {
		key  string
		text *string
	}{{routeKindKey, &route.Kind}, {routeNamespaceKey, &route.Namespace}, {routeNameKey, &route.Name}} {
		value, there, ok := w.member(object, numberFields, field.key)
		if !there || !ok {
			return false
		}
		number, text, ok := value.only()
		if !ok || number != numberText {
			return false
		}
		if *field.text, ok = w.text(text.pos, text.end); !ok {
			return false
		}
	}
	w.routes = append(w.routes, route)
	return route.whole()
}

// member finds the value of a key in a map of messages, which is a field of the
// message that r reads. It returns ok false if full decoding has to look.
func (w *wireRequest) member(r wireReader, field int, key string) (value wireReader, there, ok bool) {
	for {
		number, from, to, more := r.next()
		if !more {
			return value, there, !r.bad
		}
		if number != field {
			continue
		}
		name, v, ok := w.messageEntry(r.sub(from, to))
		if !ok || there && name == key {
			return value, false, false
		}
		if name == key {
			value, there = v, true
		}
	}
}

// messageEntry reads one entry of a map of messages.
func (w *wireRequest) messageEntry(r wireReader) (key string, value wireReader, ok bool) {
	keys, values := 0, 0
	for {
		number, from, to, more := r.next()
		if !more {
			return key, value, !r.bad && keys <= 1 && values <= 1
		}
		switch number {
		case numberKey:
			if key, ok = w.text(from, to); !ok {
				return "", value, false
			}
			keys++
		case numberValue:
			value = r.sub(from, to)
			values++
		}
	}
}

// only returns the one field that a message consists of, byte for byte.
func (r *wireReader) only() (number int, value wireReader, ok bool) {
	start := r.pos
	number, from, to, more := r.next()
	if !more || to != r.end || to-start != protowire.SizeTag(protowire.Number(number))+protowire.SizeBytes(to-from) {
		return 0, wireReader{}, false
	}
	return number, r.sub(from, to), true
}
