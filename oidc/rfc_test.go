package oidc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The examples of the RFCs, as they are printed there without the line breaks.
const (
	rfc7515A1  = `eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk` // also RFC 7519 section 3.1
	rfc7515A2  = `eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw`
	rfc7515A3  = `eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q`
	rfc7515A4  = `eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn`
	rfc7515A5  = `eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.` // also RFC 7519 section 6.1
	rfc7515A6  = `{"payload":"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ","signatures":[{"protected":"eyJhbGciOiJSUzI1NiJ9","header":{"kid":"2010-12-29"},"signature":"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"},{"protected":"eyJhbGciOiJFUzI1NiJ9","header":{"kid":"e9bc097a-ce51-4036-9562-d2ade882db0d"},"signature":"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"}]}`
	rfc7515A7  = `{"payload":"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ","protected":"eyJhbGciOiJFUzI1NiJ9","header":{"kid":"e9bc097a-ce51-4036-9562-d2ade882db0d"},"signature":"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"}`
	rfc7515E   = `eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9VTkRFRklORUQiOnRydWUNCn0.RkFJTA.`
	rfc7519A1  = `eyJhbGciOiJSU0ExXzUiLCJlbmMiOiJBMTI4Q0JDLUhTMjU2In0.QR1Owv2ug2WyPBnbQrRARTeEk9kDO2w8qDcjiHnSJflSdv1iNqhWXaKH4MqAkQtMoNfABIPJaZm0HaA415sv3aeuBWnD8J-Ui7Ah6cWafs3ZwwFKDFUUsWHSK-IPKxLGTkND09XyjORj_CHAgOPJ-Sd8ONQRnJvWn_hXV1BNMHzUjPyYwEsRhDhzjAD26imasOTsgruobpYGoQcXUwFDn7moXPRfDE8-NoQX7N7ZYMmpUDkR-Cx9obNGwJQ3nM52YCitxoQVPzjbl7WBuB7AohdBoZOdZ24WlN1lVIeh8v1K4krB8xgKvRU8kgFrEn_a1rZgN5TiysnmzTROF869lQ.AxY8DCtDaGlsbGljb3RoZQ.MKOle7UQrG6nSxTLX6Mqwt0orbHvAKeWnDYvpIAeZ72deHxz3roJDXQyhxx0wKaMHDjUEOKIwrtkHthpqEanSBNYHZgmNOV7sln1Eu9g3J8.fiK51VwhsxJ-siBMR-YFiA`
	rfc7797s42 = `eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19.$.02.A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY`
	rfc8037A4  = `eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg`
	rfc7520s41 = `eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg`
	rfc7520s42 = `eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw`
	rfc7520s43 = `eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2`
	rfc7520s44 = `eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0`
	rfc7520s45 = `eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9..s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0`

	rfc7515A1Key = `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`
	rfc7515A2Key = `{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`
	rfc7515A3Key = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	rfc7515A4Key = `{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}`
	rfc7517s3    = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"Public key used in JWS spec Appendix A.3 example"}`
	rfc7517A1    = `{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"},{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}]}`
	rfc7517A2    = `{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","use":"enc","kid":"1"},{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","d":"X4cTteJY_gn4FYPsXB8rdXix5vwsg1FLN5E3EaG6RJoVH-HLLKD9M7dx5oo7GURknchnrRweUkC7hT5fJLM0WbFAKNLWY2vv7B6NqXSzUvxT0_YSfqijwp3RTzlBaCxWp4doFk5N2o8Gy_nHNKroADIkJ46pRUohsXywbReAdYaMwFs9tv8d_cPVY3i07a3t8MN6TNwm0dSawm9v47UiCl3Sk5ZiG7xojPLu4sbg1U2jx4IBTNBznbJSzFHK66jT8bgkuqsk0GjskDJk19Z4qwjwbsnn4j2WBii3RL-Us2lGVkY8fkFzme1z0HbIkfz0Y6mqnOYtqc0X4jfcKoAC8Q","alg":"RS256","kid":"2011-04-29"}]}` // without the factors of the RSA key
	rfc7517A3    = `{"keys":[{"kty":"oct","alg":"A128KW","k":"GawgguFyGrWKav7AX4VKUg"},{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow","kid":"HMAC key used in JWS spec Appendix A.1 example"}]}`
	rfc7517B     = `{"kty":"RSA","use":"sig","kid":"1b94c","n":"vrjOfz9Ccdgx5nQudyhdoR17V-IubWMeOZCwX_jj0hgAsz2J_pqYW08PLbK_PdiVGKPrqzmDIsLI7sA25VEnHU1uCLNwBuUiCO11_-7dYbsr4iJmG0Qu2j8DsVyT1azpJC_NG84Ty5KKthuCaPod7iI7w0LK9orSMhBEwwZDCxTWq4aYWAchc8t-emd9qOvWtVMDC2BXksRngh6X5bUYLy6AyHKvj-nUy1wgzjYQDwHMTplCoLtU-o-8SNnZ1tmRoGE9uJkBLdh5gFENabWnU5m1ZqZPdwS-qo-meMvVfJb6jJVWRpl2SUtCnYG2C32qvbWbjZ_jBPD5eunqsIo1vQ","e":"AQAB","x5c":["MIIDQjCCAiqgAwIBAgIGATz/FuLiMA0GCSqGSIb3DQEBBQUAMGIxCzAJBgNVBAYTAlVTMQswCQYDVQQIEwJDTzEPMA0GA1UEBxMGRGVudmVyMRwwGgYDVQQKExNQaW5nIElkZW50aXR5IENvcnAuMRcwFQYDVQQDEw5CcmlhbiBDYW1wYmVsbDAeFw0xMzAyMjEyMzI5MTVaFw0xODA4MTQyMjI5MTVaMGIxCzAJBgNVBAYTAlVTMQswCQYDVQQIEwJDTzEPMA0GA1UEBxMGRGVudmVyMRwwGgYDVQQKExNQaW5nIElkZW50aXR5IENvcnAuMRcwFQYDVQQDEw5CcmlhbiBDYW1wYmVsbDCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAL64zn8/QnHYMeZ0LncoXaEde1fiLm1jHjmQsF/449IYALM9if6amFtPDy2yvz3YlRij66s5gyLCyO7ANuVRJx1NbgizcAblIgjtdf/u3WG7K+IiZhtELto/A7Fck9Ws6SQvzRvOE8uSirYbgmj6He4iO8NCyvaK0jIQRMMGQwsU1quGmFgHIXPLfnpnfajr1rVTAwtgV5LEZ4Iel+W1GC8ugMhyr4/p1MtcIM42EA8BzE6ZQqC7VPqPvEjZ2dbZkaBhPbiZAS3YeYBRDWm1p1OZtWamT3cEvqqPpnjL1XyW+oyVVkaZdklLQp2Btgt9qr21m42f4wTw+Xrp6rCKNb0CAwEAATANBgkqhkiG9w0BAQUFAAOCAQEAh8zGlfSlcI0o3rYDPBB07aXNswb4ECNIKG0CETTUxmXl9KUL+9gGlqCz5iWLOgWsnrcKcY0vXPG9J1r9AqBNTqNgHq2G03X09266X5CpOe1zFo+Owb1zxtp3PehFdfQJ610CDLEaS9V9Rqp17hCyybEpOGVwe8fnk+fbEL2Bo3UPGrpsHzUoaGpDftmWssZkhpBJKVMJyf/RuP2SmmaIzmnw9JiSlYhzo4tpzd5rFXhjRbg4zW9C+2qok+2+qDM1iJ684gPHMIY8aLWrdgQTxkumGmTqgawR+N5MDtdPTEQ0XfIBc2cJEUyMTY5MPvACWpkA6SdS4xSvdXK3IVfOWA=="]}`
	rfc7520s31   = `{"kty":"EC","kid":"bilbo.baggins@hobbiton.example","use":"sig","crv":"P-521","x":"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt","y":"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"}`
	rfc7520s32   = `{"kty":"EC","kid":"bilbo.baggins@hobbiton.example","use":"sig","crv":"P-521","x":"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt","y":"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1","d":"AAhRON2r9cqXX1hg-RoI6R1tX5p2rUAYdmpHZoC1XNM56KtscrX6zbKipQrCW9CGZH3T4ubpnoTKLDYJ_fF3_rJt"}`
	rfc7520s33   = `{"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig","n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw","e":"AQAB"}`
	rfc7520s34   = `{"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig","n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw","e":"AQAB","d":"bWUC9B-EFRIo8kpGfh0ZuyGPvMNKvYWNtB_ikiH9k20eT-O1q_I78eiZkpXxXQ0UTEs2LsNRS-8uJbvQ-A1irkwMSMkK1J3XTGgdrhCku9gRldY7sNA_AKZGh-Q661_42rINLRCe8W-nZ34ui_qOfkLnK9QWDDqpaIsA-bMwWWSDFu2MUBYwkHTMEzLYGqOe04noqeq1hExBTHBOBdkMXiuFhUq1BU6l-DqEiWxqg82sXt2h-LMnT3046AOYJoRioz75tSUQfGCshWTBnP5uDjd18kKhyv07lhfSJdrPdM5Plyl21hsFf4L_mHCuoFau7gdsPfHPxxjVOcOpBrQzwQ"}` // without the factors
	rfc7520s35   = `{"kty":"oct","kid":"018c0ae5-4d9b-471b-bfd6-eef314bc7037","use":"sig","alg":"HS256","k":"hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"}`
	rfc7520s36   = `{"kty":"oct","kid":"1e571774-2e08-40da-8308-e8d68773842d","use":"enc","alg":"A256GCM","k":"AAPapAv4LbFbiVawEjagUBluYqN5rhna-8nuldDvOx8"}`
	rfc8037A1    = `{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	rfc8037A2    = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	rfc8037A6    = `{"kty":"OKP","crv":"X25519","kid":"Bob","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}`
	rfc8037A7    = `{"kty":"OKP","crv":"X448","kid":"Dave","x":"PreoKbDNIPW8_AtZm2_sz22kYnEHvbDU80W0MCfYuXL8PjT7QjKhPcG3LV67D2uB73BxnvzNgmk"}`

	// RFC 9068 section 2.2.
	rfc9068Header = `{"typ":"at+JWT","alg":"RS256","kid":"RjEwOwOA"}`
	rfc9068Claims = `{
  "iss": "https://authorization-server.example.com/",
  "sub": "5ba552d67",
  "aud": "https://rs.example.com/",
  "exp": 1639528912,
  "iat": 1618354090,
  "jti" : "dbe39bf3a3ba4238a513f51d6e1691c4",
  "client_id": "s6BhdRkqt3",
  "scope": "openid profile reademail"
}`

	// What the examples of RFC 7520 section 4 say.
	bilbo = "It\u2019s a dangerous business, Frodo, going out your door. You step onto the road, and if you don't keep your feet, there\u2019s no knowing where you might be swept off to."
)

// setText writes a key set of keys that are written already.
func setText(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

// fixedValidator makes a validator for one issuer that has published this key
// set, at a time that stands still. Nothing is ever fetched.
func fixedValidator(t testing.TB, jwks string, now time.Time, ic IssuerConfig) *Validator {
	t.Helper()
	ic.Name, ic.JWKSURL = "test", "https://keys.invalid/"
	v, err := NewValidator(Config{Issuers: []IssuerConfig{ic}, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	k := v.issuers[0].keys
	k.mu.Lock()
	defer k.mu.Unlock()
	set, err := parseKeySet([]byte(jwks))
	if err == nil {
		k.publish(fetched{set: set, life: time.Hour}, now)
	}
	k.landed, k.lastErr = true, err
	k.setDue(time.Hour)
	k.gateUsed, k.gateAt = true, now // an unknown key has just been asked for
	return v
}

// verifyJWS verifies a compact JWS whatever its payload is, with the parts that
// [Validator.Validate] is made of: the examples of the RFCs and of other
// collections are seldom access tokens.
func verifyJWS(token, jwks string) (payload string, _ Reason) {
	rawHeader, rawPayload, rawSignature, refused := splitCompact(token)
	if refused != nil {
		return "", refused.Reason
	}
	decoded := func(segment string) string {
		b, err := decodeSegment(segment)
		if err != nil {
			refused = &Error{Reason: MalformedToken}
		}
		return string(b)
	}
	header, payload, signature := decoded(rawHeader), decoded(rawPayload), decoded(rawSignature)
	if refused != nil {
		return "", refused.Reason
	}
	c := compact{signature: []byte(signature), signingInput: rawHeader + "." + rawPayload}
	if c.header, refused = parseHeader(header, &jsonRoom{}); refused != nil {
		return "", refused.Reason
	}
	if signature == "" {
		return "", MalformedToken
	}
	set, err := parseKeySet([]byte(jwks))
	if err != nil {
		return "", KeysUnavailable
	}
	switch (&keySnapshot{set: set}).match(keyHint{alg: c.header.alg, kid: c.header.kid, hasKID: c.header.hasKID}, c.verifiedBy) {
	case verified:
		return payload, ""
	case forged:
		return "", BadSignature
	default:
		return "", UnknownKey
	}
}

func TestExamplesOfSignatures(t *testing.T) {
	hmac := strings.TrimSuffix(rfc7515A1Key, "}") + `,"kid":"018c0ae5-4d9b-471b-bfd6-eef314bc7037"}`
	for _, tt := range []struct {
		name, token, key string
		payload          string
		want             Reason
	}{
		{"RFC 7515 A.1: HS256", rfc7515A1, rfc7515A1Key, "", UnsupportedAlgorithm},
		{"RFC 7515 A.2: RS256", rfc7515A2, rfc7515A2Key, joe, ""},
		{"RFC 7515 A.3: ES256", rfc7515A3, rfc7515A3Key, joe, ""},
		{"RFC 7515 A.4: ES512", rfc7515A4, rfc7515A4Key, "Payload", ""},
		{"RFC 7515 A.5: none", rfc7515A5, rfc7515A2Key, "", UnsupportedAlgorithm},
		{"RFC 7515 A.6: JSON serialization", rfc7515A6, rfc7515A3Key, "", MalformedToken},
		{"RFC 7515 A.7: flattened JSON", rfc7515A7, rfc7515A3Key, "", MalformedToken},
		{"RFC 7515 E: crit", rfc7515E, rfc7515A3Key, "", UnsupportedAlgorithm},
		{"RFC 7515 F: detached content", detached(rfc7515A3), rfc7515A3Key, "", MalformedToken},
		{"RFC 7519 A.1: encrypted", rfc7519A1, rfc7515A2Key, "", MalformedToken},
		{"RFC 7520 4.1: RS256", rfc7520s41, rfc7520s33, bilbo, ""},
		{"RFC 7520 4.2: PS384", rfc7520s42, rfc7520s33, bilbo, ""},
		{"RFC 7520 4.3: ES512", rfc7520s43, rfc7520s31, bilbo, ""},
		{"RFC 7520 4.4: HS256", rfc7520s44, rfc7520s35, "", UnsupportedAlgorithm},
		{"RFC 7520 4.5: detached content", rfc7520s45, rfc7520s35, "", MalformedToken},
		{"RFC 7797 4.2: b64", rfc7797s42, hmac, "", MalformedToken},
		{"RFC 8037 A.5: EdDSA", rfc8037A4, rfc8037A2, "Example of Ed25519 signing", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			payload, reason := verifyJWS(tt.token, setText(tt.key))
			if reason != tt.want || payload != tt.payload {
				t.Errorf("%q, payload %q; want %q, %q", reason, payload, tt.want, tt.payload)
			}
			if tt.want != "" {
				return
			}
			// What makes the example good is the signature and the key.
			parts := strings.Split(tt.token, ".")
			if _, reason := verifyJWS(parts[0]+"."+segment("x")+"."+parts[2], setText(tt.key)); reason != BadSignature {
				t.Errorf("with another payload: %q", reason)
			}
			for _, other := range []string{rfc7515A2Key, rfc7515A3Key, rfc7515A4Key, rfc8037A2, rfc7520s31, rfc7520s33} {
				if _, reason := verifyJWS(tt.token, setText(other)); other != tt.key && reason != BadSignature && reason != UnknownKey {
					t.Errorf("with the key %s: %q", other, reason)
				}
			}
		})
	}
}

// joe is what most examples of RFC 7515 say.
const joe = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"

// detached takes the payload out (RFC 7515 appendix F).
func detached(token string) string {
	parts := strings.Split(token, ".")
	return parts[0] + ".." + parts[2]
}

// The examples that are whole tokens go the whole way.
func TestExamplesOfTokens(t *testing.T) {
	joes := IssuerConfig{Issuer: "joe", AnyAudience: true}
	before := time.Unix(1300819380-60, 0)
	for _, tt := range []struct {
		name, token, key string
		want             Reason
	}{
		{"RFC 7519 3.1: HS256", rfc7515A1, rfc7515A1Key, UnsupportedAlgorithm},
		{"RFC 7519 6.1: none", rfc7515A5, rfc7515A2Key, UnsupportedAlgorithm},
		{"RFC 7519 A.1: encrypted", rfc7519A1, rfc7515A2Key, MalformedToken},
		{"RFC 7515 A.2", rfc7515A2, rfc7515A2Key, ""},
		{"RFC 7515 A.3", rfc7515A3, rfc7515A3Key, ""},
		{"RFC 7515 A.3 with the key of A.2", rfc7515A3, rfc7515A2Key, UnknownKey},
		{"RFC 7515 A.4, which is no claims set", rfc7515A4, rfc7515A4Key, MalformedToken},
		{"RFC 8037 A.4, which is no claims set", rfc8037A4, rfc8037A2, MalformedToken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, err := fixedValidator(t, setText(tt.key), before, joes).Validate(t.Context(), tt.token, Requirement{})
			if ReasonOf(err) != tt.want {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			if tt.want != "" {
				return
			}
			root, _ := token.Claims.Top("http://example.com/is_root")
			if token.Issuer != "joe" || token.Expiry.Unix() != 1300819380 || !root.Bool() {
				t.Errorf("the token says %+v", token)
			}
			late := fixedValidator(t, setText(tt.key), before.Add(time.Hour), joes)
			if _, err := late.Validate(t.Context(), tt.token, Requirement{}); ReasonOf(err) != Expired {
				t.Errorf("an hour later: %v", err)
			}
		})
	}
}

func TestExampleOfAnAccessToken(t *testing.T) { // RFC 9068 section 2.2; the RFC has no signature
	token := sign(t, "RS256", rfc9068Header, rfc9068Claims)
	now := time.Unix(1618354090, 0)
	key := strings.TrimSuffix(rfc7515A2Key, "}") + `,"kid":"RjEwOwOA"}`
	ic := IssuerConfig{
		Issuer: "https://authorization-server.example.com/", Audiences: []string{"https://rs.example.com/"},
		TokenTypes: []string{"at+jwt"},
	}
	got, err := fixedValidator(t, setText(key), now, ic).Validate(t.Context(), token, Requirement{})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%s %s %s %q %q %s", got.Subject, got.ClientID, got.ID, got.Audience, got.Scopes, got.Type)
	if want := `5ba552d67 s6BhdRkqt3 dbe39bf3a3ba4238a513f51d6e1691c4 ["https://rs.example.com/"] ["openid" "profile" "reademail"] at+JWT`; text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	for name, change := range map[string]struct {
		from, to string
		want     Reason
	}{
		"the issuer without its slash": {"server.example.com/", "server.example.com", UnknownIssuer},
		"another audience":             {"https://rs.example.com/", "https://rs.example.com", WrongAudience},
		"no expiry":                    {`"exp"`, `"Exp"`, InvalidClaim},
	} {
		bad := sign(t, "RS256", rfc9068Header, strings.Replace(rfc9068Claims, change.from, change.to, 1))
		if _, err := fixedValidator(t, setText(key), now, ic).Validate(t.Context(), bad, Requirement{}); ReasonOf(err) != change.want {
			t.Errorf("%s: %v, want %s", name, err, change.want)
		}
	}
	jwt := sign(t, "RS256", strings.Replace(rfc9068Header, "at+JWT", "JWT", 1), rfc9068Claims)
	if _, err := fixedValidator(t, setText(key), now, ic).Validate(t.Context(), jwt, Requirement{}); ReasonOf(err) != WrongTokenType {
		t.Errorf("typ JWT: %v", err)
	}
}

func TestExamplesOfKeys(t *testing.T) {
	for _, tt := range []struct {
		name, key string
		algs      algSet
		err       error
	}{
		{"RFC 7515 A.1", rfc7515A1Key, 0, errKeySymmetric},
		{"RFC 7515 A.2", rfc7515A2Key, setRSA, nil},
		{"RFC 7515 A.3", rfc7515A3Key, ES256.bit(), nil},
		{"RFC 7515 A.4", rfc7515A4Key, ES512.bit(), nil},
		{"RFC 7517 3", rfc7517s3, ES256.bit(), nil},
		{"RFC 7517 B, with x5c", rfc7517B, setRSA, nil},
		{"RFC 7520 3.1", rfc7520s31, ES512.bit(), nil},
		{"RFC 7520 3.2, private", rfc7520s32, 0, errKeyPrivate},
		{"RFC 7520 3.3", rfc7520s33, setRSA, nil},
		{"RFC 7520 3.4, private", rfc7520s34, 0, errKeyPrivate},
		{"RFC 7520 3.5, for HMAC", rfc7520s35, 0, errKeySymmetric},
		{"RFC 7520 3.6, for encryption", rfc7520s36, 0, errKeyUse},
		{"RFC 8037 A.1, private", rfc8037A1, 0, errKeyPrivate},
		{"RFC 8037 A.2", rfc8037A2, EdDSA.bit(), nil},
		{"RFC 8037 A.6: X25519", rfc8037A6, 0, errKeyCurve},
		{"RFC 8037 A.7: X448", rfc8037A7, 0, errKeyCurve},
	} {
		k, err := parseKey(tt.key)
		if !errors.Is(err, tt.err) || k.algs != tt.algs && err == nil {
			t.Errorf("%s: %v, for %b; want %v, %b", tt.name, err, k.algs, tt.err, tt.algs)
		}
	}
}

// The thumbprints that the RFCs print, of keys that went through our parser.
func TestExamplesOfThumbprints(t *testing.T) {
	set, err := parseKeySet([]byte(rfc7517A1))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		key  key
		want string
	}{
		"RFC 7638 3.1, the RSA key of RFC 7517 A.1": {set.keys[0], "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		"RFC 8037 A.3": {mustParseKey(t, rfc8037A2), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
	} {
		if got := tt.key.info().Thumbprint; got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestExamplesOfKeySets(t *testing.T) {
	for _, tt := range []struct {
		name, set     string
		used, skipped string
		err           error
	}{
		{"RFC 7517 A.1: public keys, one for encryption", rfc7517A1, "2011-04-29", "1: use is not sig", nil},
		{"RFC 7517 A.2: private keys", rfc7517A2, "", "", errSetUnusable},
		{"RFC 7517 A.3: symmetric keys", rfc7517A3, "", "", errSetUnusable},
		{
			"all at once", setText(rfc7515A2Key, rfc7517B, rfc8037A6, rfc8037A1), " 1b94c",
			"Bob: unknown crv, : has private members", nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := parseKeySet([]byte(tt.set))
			if !errors.Is(err, tt.err) {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			var used, skipped []string
			for _, k := range set.keys {
				used = append(used, k.kid)
			}
			for _, k := range set.skipped {
				skipped = append(skipped, k.KeyID+": "+k.Reason)
			}
			if strings.Join(used, " ") != tt.used || strings.Join(skipped, ", ") != tt.skipped {
				t.Errorf("used %q, skipped %q", used, skipped)
			}
		})
	}
	set, err := parseKeySet([]byte(rfc7517A1))
	if err != nil {
		t.Fatal(err)
	}
	if k := set.keys[0]; k.algs != RS256.bit() {
		t.Errorf("RFC 7517 A.1 pins RS256, the key is for %b", k.algs)
	}
}
