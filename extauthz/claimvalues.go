package extauthz

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/claimgate/claimgate/oidc"
)

// ClaimValues are the values of which a claim must have one. Each is a string, a
// bool, an int or a [json.Number]; the types never mix, so that "1" does not fit
// the number 1.
type ClaimValues []any

// scalar converts one of the values.
func scalar(value any) (oidc.Scalar, error) {
	switch v := value.(type) {
	case string:
		return oidc.StringScalar(v), nil
	case bool:
		return oidc.BoolScalar(v), nil
	case int:
		return oidc.NumberScalar(fmt.Sprint(v))
	case json.Number:
		return oidc.NumberScalar(v.String())
	default:
		return oidc.Scalar{}, fmt.Errorf("must be text, a number, or true or false, not a %T", value)
	}
}

// claimRules compiles what a configuration demands of claims, in the order of
// their names.
func claimRules(claims map[string]ClaimValues) ([]oidc.ClaimRule, error) {
	var rules []oidc.ClaimRule
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		rule := oidc.ClaimRule{}
		var err error
		if rule.Name, err = oidc.ParseClaimName(name); err != nil {
			return nil, err
		}
		for _, value := range claims[name] {
			s, err := scalar(value)
			if err != nil {
				return nil, err
			}
			rule.Values = append(rule.Values, s)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}
