package extauthz

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/code"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/claimgate/claimgate/oidc"
)

// respond renders a decision. It is the only place that builds a CheckResponse,
// because Envoy takes a nil or empty one for an allow: here the status and the
// response always agree.
func respond(d Decision, metadataClaims []oidc.ClaimName) *authv3.CheckResponse {
	if !d.Allowed() {
		return &authv3.CheckResponse{
			Status: &rpcstatus.Status{Code: int32(denialCode(d.Status()))},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status:  &typev3.HttpStatus{Code: typev3.StatusCode(d.Status())}, //nolint:gosec // three digits
				Headers: overwrite(d.ResponseHeaders()),
				Body:    d.Body(),
			}},
			DynamicMetadata: dynamicMetadata(d, nil),
		}
	}
	set, remove := d.RequestHeaders()
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(code.Code_OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers:         overwrite(set),
			HeadersToRemove: remove,
		}},
		DynamicMetadata: dynamicMetadata(d, metadataClaims),
	}
}

// denialCode maps to the two codes that every Envoy reads as a denial; some
// versions take others for an error, which passes under failure_mode_allow.
func denialCode(httpStatus int) code.Code {
	if httpStatus == int(typev3.StatusCode_Unauthorized) {
		return code.Code_UNAUTHENTICATED
	}
	return code.Code_PERMISSION_DENIED
}

// overwrite says "replace" in both of the ways that there are, so that nothing
// depends on which one an Envoy reads. Those of the end-to-end tests, 1.36 to
// 1.40, read append; issue 43310 of Envoy tells of a 1.37 that reads
// append_action.
func overwrite(headers []Header) []*corev3.HeaderValueOption {
	var options []*corev3.HeaderValueOption
	for _, h := range headers {
		options = append(options, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: h.Name, Value: h.Value},
			Append:       wrapperspb.Bool(false),
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return options
}

// dynamicMetadata is what later filters and access logs can read under
// envoy.filters.http.ext_authz.
func dynamicMetadata(d Decision, claims []oidc.ClaimName) *structpb.Struct {
	fields := map[string]*structpb.Value{
		"reason": structpb.NewStringValue(string(d.Reason())),
		"policy": structpb.NewStringValue(d.policy),
	}
	t := d.token
	if t != nil {
		fields["issuer"] = structpb.NewStringValue(t.IssuerName)
	}
	if t != nil && d.Allowed() {
		fields["subject"] = structpb.NewStringValue(t.Subject)
		fields["principal"] = structpb.NewStringValue(t.Principal())
		fields["client"] = structpb.NewStringValue(t.ClientID)
		fields["tenant"] = structpb.NewStringValue(t.Tenant)
		fields["scopes"] = stringList(t.Scopes)
		fields["roles"] = stringList(t.Roles)
		if len(claims) > 0 {
			fields["claims"] = structpb.NewStructValue(claimsStruct(t, claims))
		}
	}
	return &structpb.Struct{Fields: fields}
}

func stringList(list []string) *structpb.Value {
	values := make([]*structpb.Value, len(list))
	for i, s := range list {
		values[i] = structpb.NewStringValue(s)
	}
	return structpb.NewListValue(&structpb.ListValue{Values: values})
}

// claimsStruct returns the claims that the configuration names for the metadata.
func claimsStruct(t *oidc.Token, names []oidc.ClaimName) *structpb.Struct {
	fields := make(map[string]*structpb.Value, len(names))
	for _, name := range names {
		if v, ok := t.Claims.Get(name); ok {
			fields[name.String()] = protoValue(v)
		}
	}
	return &structpb.Struct{Fields: fields}
}

// protoValue converts JSON to protobuf's Struct family. Its numbers are
// doubles; one that a double cannot hold at all stays a string.
func protoValue(v oidc.Value) *structpb.Value {
	switch v.Kind() {
	case oidc.KindString:
		return structpb.NewStringValue(v.Text())
	case oidc.KindNumber:
		if f, ok := v.Float64(); ok {
			return structpb.NewNumberValue(f)
		}
		return structpb.NewStringValue(v.Text())
	case oidc.KindBool:
		return structpb.NewBoolValue(v.Bool())
	case oidc.KindArray:
		list := &structpb.ListValue{}
		for e := range v.Elements() {
			list.Values = append(list.Values, protoValue(e))
		}
		return structpb.NewListValue(list)
	case oidc.KindObject:
		object := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for name, member := range v.Members() {
			object.Fields[name] = protoValue(member)
		}
		return structpb.NewStructValue(object)
	default:
		return structpb.NewNullValue()
	}
}
