package extauthz

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/claimgate/claimgate/oidc"
)

// encodeAnswer writes what respond builds, without building it. A test holds the
// two together for every transcript.
func encodeAnswer(d Decision, metadataClaims []oidc.ClaimName) []byte {
	w := newWireWriter()
	// Backwards: the last field first.
	w.metadata(4, d, metadataClaims)
	if d.Allowed() {
		end := w.size()
		set, remove := d.RequestHeaders()
		for i := len(remove) - 1; i >= 0; i-- {
			w.text(5, remove[i])
		}
		w.headers(2, set)
		w.message(3, end)
		w.message(1, w.size()) // a status of code 0
		return w.bytes()
	}
	end := w.size()
	w.text(3, d.Body())
	w.headers(2, d.ResponseHeaders())
	status := w.size()
	w.number(1, uint64(d.Status())) //nolint:gosec // three digits
	w.message(1, status)
	w.message(2, end)
	status = w.size()
	w.number(1, uint64(denialCode(d.Status()))) //nolint:gosec // 7 or 16
	w.message(1, status)
	return w.bytes()
}

// headers writes HeaderValueOptions that overwrite in both ways: see overwrite.
func (w *wireWriter) headers(field protowire.Number, headers []Header) {
	for i := len(headers) - 1; i >= 0; i-- {
		end := w.size()
		w.number(3, overwriteOrAdd)
		w.message(2, w.size()) // append: a BoolValue that is false
		header := w.size()
		w.text(2, headers[i].Value)
		w.text(1, headers[i].Name)
		w.message(1, header)
		w.message(field, end)
	}
}

const overwriteOrAdd = 2 // HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD

// metadata writes the Struct that dynamicMetadata builds.
func (w *wireWriter) metadata(field protowire.Number, d Decision, claims []oidc.ClaimName) {
	end := w.size()
	t := d.token
	if t != nil && d.Allowed() {
		if len(claims) > 0 {
			w.claims(t, claims)
		}
		w.listEntry("roles", t.Roles)
		w.listEntry("scopes", t.Scopes)
		w.textEntry("tenant", t.Tenant)
		w.textEntry("client", t.ClientID)
		w.textEntry("principal", t.Principal())
		w.textEntry("subject", t.Subject)
	}
	if t != nil {
		w.textEntry("issuer", t.IssuerName)
	}
	w.textEntry("policy", d.policy)
	w.textEntry("reason", string(d.Reason()))
	w.message(field, end)
}

// Numbers of the kinds of a structpb.Value.
const (
	valueText   = 3
	valueStruct = 5
	valueList   = 6
)

func (w *wireWriter) textEntry(key, text string) {
	entry := w.size()
	w.textValue(2, text)
	w.text(1, key)
	w.message(1, entry)
}

// textValue writes a Value; unlike a plain field it is there if it is empty.
func (w *wireWriter) textValue(field protowire.Number, text string) {
	value := w.size()
	end := w.size()
	w.raw(text)
	w.message(valueText, end)
	w.message(field, value)
}

func (w *wireWriter) listEntry(key string, list []string) {
	entry := w.size()
	value := w.size()
	elements := w.size()
	for i := len(list) - 1; i >= 0; i-- {
		w.textValue(1, list[i])
	}
	w.message(valueList, elements)
	w.message(2, value)
	w.text(1, key)
	w.message(1, entry)
}

// claims writes the configured claims, which are few and of any shape.
func (w *wireWriter) claims(t *oidc.Token, names []oidc.ClaimName) {
	// Marshal fails on invalid UTF-8 only, which no verified claim has.
	wire, err := proto.Marshal(claimsStruct(t, names))
	if err != nil {
		panic(err)
	}
	entry := w.size()
	value := w.size()
	end := w.size()
	w.raw(string(wire))
	w.message(valueStruct, end)
	w.message(2, value)
	w.text(1, "claims")
	w.message(1, entry)
}

// wireWriter writes a protobuf message from its end, so that the length of each
// part is known when it is needed.
type wireWriter struct {
	buf  []byte
	free int // bytes of buf that are not written yet
}

// usualAnswer is room for an answer with the default headers.
const usualAnswer = 768

func newWireWriter() *wireWriter { return &wireWriter{make([]byte, usualAnswer), usualAnswer} }

func (w *wireWriter) bytes() []byte { return w.buf[w.free:] }

// size returns how much is written: what marks the end of a message.
func (w *wireWriter) size() int { return len(w.buf) - w.free }

// take returns the n bytes before what is written.
func (w *wireWriter) take(n int) []byte {
	if n > w.free {
		old := w.bytes()
		w.buf = make([]byte, 2*len(w.buf)+n)
		w.free = len(w.buf) - len(old)
		copy(w.buf[w.free:], old)
	}
	w.free -= n
	return w.buf[w.free : w.free : w.free+n]
}

func (w *wireWriter) raw(s string) { _ = append(w.take(len(s)), s...) }

func (w *wireWriter) varint(v uint64) {
	_ = protowire.AppendVarint(w.take(protowire.SizeVarint(v)), v)
}

// message makes a field of what was written since the size was end.
func (w *wireWriter) message(field protowire.Number, end int) {
	w.varint(uint64(w.size() - end)) //nolint:gosec // never negative
	w.varint(protowire.EncodeTag(field, protowire.BytesType))
}

// text writes a string field; as in proto3, an empty one is left out.
func (w *wireWriter) text(field protowire.Number, s string) {
	if s == "" {
		return
	}
	end := w.size()
	w.raw(s)
	w.message(field, end)
}

// number writes a varint field that is not zero.
func (w *wireWriter) number(field protowire.Number, v uint64) {
	w.varint(v)
	w.varint(protowire.EncodeTag(field, protowire.VarintType))
}
