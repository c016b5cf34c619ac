package extauthz

import (
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/claimgate/claimgate/oidc"
)

// The types of what an expression sees. Their names cannot be written in CEL, so
// that no expression can make such an object.
var (
	requestType = types.NewObjectType("claimgate-request")
	sourceType  = types.NewObjectType("claimgate-source")
	tokenType   = types.NewObjectType("claimgate-token")

	objectNames = map[*types.Type]string{requestType: "request", sourceType: "request.source", tokenType: "token"}
)

// field is a field of one of these types. Its getter takes the conditionInput,
// whatever the object is.
type field struct {
	celType *types.Type
	get     func(*conditionInput) any
}

var conditionFields = map[string]map[string]field{
	requestType.TypeName(): {
		"method": {types.StringType, func(in *conditionInput) any { return in.request.Method }},
		// As matched: HOST:443 and host. are the host that the policy means.
		"host":    {types.StringType, func(in *conditionInput) any { host, _ := canonicalHost(in.request.Host); return host }},
		"path":    {types.StringType, func(in *conditionInput) any { return in.path }},
		"scheme":  {types.StringType, func(in *conditionInput) any { return in.request.Scheme }},
		"headers": {types.NewMapType(types.StringType, types.StringType), func(in *conditionInput) any { return headersMap(in.request.Headers) }},
		"source":  {sourceType, func(in *conditionInput) any { return in }},
	},
	sourceType.TypeName(): {
		"address":   {types.StringType, func(in *conditionInput) any { return in.request.SourceAddress }},
		"principal": {types.StringType, func(in *conditionInput) any { return in.request.SourcePrincipal }},
	},
	tokenType.TypeName(): {
		"claims":  {types.NewMapType(types.StringType, types.DynType), func(in *conditionInput) any { return objectMap(in.token.Claims.Object()) }},
		"issuer":  {types.StringType, func(in *conditionInput) any { return in.token.IssuerName }},
		"subject": {types.StringType, func(in *conditionInput) any { return in.token.Subject }},
		"client":  {types.StringType, func(in *conditionInput) any { return in.token.ClientID }},
		"scopes":  {types.NewListType(types.StringType), func(in *conditionInput) any { return in.token.Scopes }},
		"roles":   {types.NewListType(types.StringType), func(in *conditionInput) any { return in.token.Roles }},
		"tenant":  {types.StringType, func(in *conditionInput) any { return in.token.Tenant }},
		"expires": {types.TimestampType, func(in *conditionInput) any { return in.token.Expiry.UTC() }},
	},
}

// newConditionEnv returns the standard CEL environment with our variables.
func newConditionEnv() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	return cel.NewEnv(
		cel.CustomTypeAdapter(registry),
		cel.CustomTypeProvider(conditionTypes{registry}),
		cel.Variable("request", requestType),
		cel.Variable("token", tokenType),
		cel.Variable("context", types.NewMapType(types.StringType, types.StringType)),
		cel.CrossTypeNumericComparisons(true), // a claim 1.5 and a literal 2 compare
		cel.DefaultUTCTimeZone(true),
	)
}

// conditionTypes are CEL's own types and ours.
type conditionTypes struct{ *types.Registry }

// FindStructType implements types.Provider.
func (p conditionTypes) FindStructType(name string) (*types.Type, bool) {
	if conditionFields[name] != nil {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p conditionTypes) FindStructFieldNames(name string) ([]string, bool) {
	fields := conditionFields[name]
	if fields == nil {
		return p.Registry.FindStructFieldNames(name)
	}
	var names []string
	for n := range fields {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, true
}

// FindStructFieldType implements types.Provider.
func (p conditionTypes) FindStructFieldType(name, fieldName string) (*types.FieldType, bool) {
	fields := conditionFields[name]
	if fields == nil {
		return p.Registry.FindStructFieldType(name, fieldName)
	}
	f, ok := fields[fieldName]
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type:    f.celType,
		IsSet:   func(object any) bool { return !isEmptyField(f.get(object.(*conditionInput))) },
		GetFrom: func(object any) (any, error) { return f.get(object.(*conditionInput)), nil },
	}, true
}

// isEmptyField is what has() asks: an absent field is empty.
func isEmptyField(v any) bool {
	switch v := v.(type) {
	case string:
		return v == ""
	case []string:
		return len(v) == 0
	default:
		return false
	}
}

// claimValue adapts JSON to CEL: an integer of 64 bits to int, other numbers to
// double, objects lazily to maps.
func claimValue(v oidc.Value) ref.Val {
	switch v.Kind() {
	case oidc.KindBool:
		return types.Bool(v.Bool())
	case oidc.KindString:
		return types.String(v.Text())
	case oidc.KindNumber:
		if n, ok := v.Int64(); ok {
			return types.Int(n)
		}
		if f, ok := v.Float64(); ok {
			return types.Double(f)
		}
		return types.NewErr("number out of range")
	case oidc.KindArray:
		var list []ref.Val
		for e := range v.Elements() {
			list = append(list, claimValue(e))
		}
		return types.NewRefValList(types.DefaultTypeAdapter, list)
	case oidc.KindObject:
		return objectMap(v)
	default:
		return types.NullValue
	}
}

// objectMap is a JSON object as a CEL map. A member that is null is absent, as it
// is wherever a claim is named.
func objectMap(v oidc.Value) *lazyMap {
	return &lazyMap{
		find: func(key string) (ref.Val, bool) {
			member, ok := v.Member(key)
			if !ok || member.Kind() == oidc.KindNull {
				return nil, false
			}
			return claimValue(member), true
		},
		build: func() traits.Mapper {
			members := map[string]any{}
			for name, member := range v.Members() {
				if member.Kind() != oidc.KindNull {
					members[name] = claimValue(member)
				}
			}
			return types.NewStringInterfaceMap(types.DefaultTypeAdapter, members)
		},
	}
}

// headersMap is a request's headers as a CEL map: names in lower case, without
// pseudo headers.
func headersMap(h Headers) *lazyMap {
	if h == nil {
		h = noHeaders{}
	}
	return &lazyMap{
		find: func(key string) (ref.Val, bool) {
			if strings.HasPrefix(key, ":") || strings.ToLower(key) != key {
				return nil, false
			}
			value, count := h.Get(key)
			return types.String(value), count > 0
		},
		build: func() traits.Mapper {
			values := map[string]string{}
			h.Names(func(name string) bool {
				if name = strings.ToLower(name); !strings.HasPrefix(name, ":") {
					values[name], _ = h.Get(name)
				}
				return true
			})
			return types.NewStringStringMap(types.DefaultTypeAdapter, values)
		},
	}
}

// lazyMap is a CEL map that looks up single keys where they are. What needs the
// whole map, such as a macro that walks over it, gets a copy that is made once.
// It belongs to one evaluation.
type lazyMap struct {
	find  func(key string) (ref.Val, bool)
	build func() traits.Mapper
	built traits.Mapper
}

var _ traits.Mapper = (*lazyMap)(nil)

func (m *lazyMap) whole() traits.Mapper {
	if m.built == nil {
		m.built = m.build()
	}
	return m.built
}

// Find implements traits.Mapper.
func (m *lazyMap) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return m.whole().Find(key)
	}
	return m.find(string(name))
}

// Get implements traits.Indexer.
func (m *lazyMap) Get(key ref.Val) ref.Val {
	if v, ok := m.Find(key); ok {
		return v
	}
	return m.whole().Get(key) // an error
}

// Contains implements traits.Container.
func (m *lazyMap) Contains(key ref.Val) ref.Val {
	if _, ok := m.Find(key); ok {
		return types.True
	}
	return m.whole().Contains(key) // false, or an error
}

// ConvertToNative implements ref.Val.
func (m *lazyMap) ConvertToNative(t reflect.Type) (any, error) { return m.whole().ConvertToNative(t) }

// ConvertToType implements ref.Val.
func (m *lazyMap) ConvertToType(t ref.Type) ref.Val { return m.whole().ConvertToType(t) }

// Equal implements ref.Val.
func (m *lazyMap) Equal(other ref.Val) ref.Val { return m.whole().Equal(other) }

// Iterator implements traits.Iterable.
func (m *lazyMap) Iterator() traits.Iterator { return m.whole().Iterator() }

// Size implements traits.Sizer.
func (m *lazyMap) Size() ref.Val { return m.whole().Size() }

// Type implements ref.Val.
func (m *lazyMap) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (m *lazyMap) Value() any { return m.whole().Value() }
