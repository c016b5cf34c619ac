package oidctest

import (
	"fmt"
	"slices"
	"time"
)

// verifyOwn returns the claims of a token that this issuer signed and that has not
// ended.
func (i *Issuer) verifyOwn(token string) (map[string]any, error) {
	i.mu.Lock()
	keys := slices.Clone(i.state.published)
	i.mu.Unlock()
	claims, err := verifyWith(token, keys)
	if err != nil {
		return nil, err
	}
	exp, _ := claims["exp"].(float64)
	if claims["iss"] != i.URL || !i.clock().Before(time.Unix(int64(exp), 0)) {
		return nil, fmt.Errorf("of another issuer, or over")
	}
	return claims, nil
}

// verifyWith returns the claims of a JWT that one of some keys signed.
func verifyWith(token string, keys []*Key) (map[string]any, error) {
	header, claims, input, signature, err := parseJWT(token)
	switch {
	case err != nil:
		return nil, err
	case !verifiedBy(keys, header, input, signature):
		return nil, fmt.Errorf("bad signature")
	}
	return claims, nil
}

const accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

// exchange answers a token exchange (RFC 8693): access tokens of this issuer for
// others, by impersonation or, with an actor, by delegation.
func exchange(g GrantRequest) (map[string]any, *Refusal) {
	refuse := func(why string) (map[string]any, *Refusal) {
		return nil, &Refusal{Code: "invalid_request", Description: why}
	}
	form := g.PostForm
	if form.Get("subject_token_type") != accessTokenType {
		return refuse("the subject's token type")
	}
	subject, err := g.Issuer.verifyOwn(form.Get("subject_token"))
	if err != nil {
		return refuse("the subject's token: " + err.Error())
	}
	if form.Has("actor_token") != form.Has("actor_token_type") {
		return refuse("an actor's token without its type, or the other way round")
	}
	if requested := form.Get("requested_token_type"); requested != "" && requested != accessTokenType {
		return refuse("the requested token type")
	}
	claims := map[string]any{"sub": subject["sub"]}
	if form.Has("actor_token") {
		actor, err := g.Issuer.verifyOwn(form.Get("actor_token"))
		if err != nil {
			return refuse("the actor's token: " + err.Error())
		}
		claims["act"] = map[string]any{"sub": actor["sub"]}
	}
	answer := g.answer(claims, form)
	answer["issued_token_type"] = accessTokenType
	return answer, nil
}

// TrustAssertions lets an issuer's JWTs be good assertions for the grant of RFC
// 7523, if one of keys signed them.
func (i *Issuer) TrustAssertions(issuer string, keys ...*Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state.trusted == nil {
		i.state.trusted = map[string][]*Key{}
	}
	i.state.trusted[issuer] = keys
}

// jwtBearer answers the grant of RFC 7523 section 2.1.
func jwtBearer(g GrantRequest) (map[string]any, *Refusal) {
	refuse := func(why string) (map[string]any, *Refusal) {
		return nil, &Refusal{Code: "invalid_grant", Description: why}
	}
	i := g.Issuer
	i.mu.Lock()
	var keys []*Key
	for _, k := range i.state.trusted {
		keys = append(keys, k...)
	}
	i.mu.Unlock()
	claims, err := verifyWith(g.PostForm.Get("assertion"), keys)
	if err != nil {
		return refuse(err.Error())
	}
	issuer, _ := claims["iss"].(string)
	subject, _ := claims["sub"].(string)
	aud, _ := claims["aud"].(string)
	exp, _ := claims["exp"].(float64)
	i.mu.Lock()
	_, trusted := i.state.trusted[issuer]
	i.mu.Unlock()
	switch {
	case !trusted || subject == "":
		return refuse("iss or sub")
	case aud != i.URL && aud != i.URLOf(Token):
		return refuse("aud")
	case !i.clock().Before(time.Unix(int64(exp), 0)):
		return refuse("exp")
	}
	return g.TokenAnswer(subject), nil
}
