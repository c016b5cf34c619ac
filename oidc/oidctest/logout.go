package oidctest

// LogoutToken mints what a provider posts to a client's backchannel_logout_uri
// (OpenID Connect Back-Channel Logout 1.0 section 2.4): typ logout+jwt, aud the
// client, the event of a logout. The given claims are added and win.
func (i *Issuer) LogoutToken(client string, claims map[string]any, opts ...TokenOption) string {
	all := map[string]any{
		"aud": client, "client_id": Omit,
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	for name, value := range claims {
		all[name] = value
	}
	return i.Token(all, append([]TokenOption{Header("typ", "logout+jwt")}, opts...)...)
}
