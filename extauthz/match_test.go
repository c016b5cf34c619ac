package extauthz

import "testing"

// entry makes a matchEntry of patterns that must be good.
func entry(t *testing.T, hosts, methods, paths []string) matchEntry {
	t.Helper()
	e := matchEntry{methods: methods}
	for _, s := range hosts {
		p, err := parseHostPattern(s)
		if err != nil {
			t.Fatal(err)
		}
		e.hosts = append(e.hosts, p)
	}
	for _, s := range paths {
		p, err := parsePathPattern(s, false)
		if err != nil {
			t.Fatal(err)
		}
		e.paths = append(e.paths, p)
	}
	return e
}

func TestMatch(t *testing.T) {
	type list = []string
	var (
		everything = matchList(nil)
		api        = matchList{entry(t, list{"api.example.com"}, nil, nil)}
		writes     = matchList{entry(t, nil, list{"POST", "PUT"}, nil)}
		admin      = matchList{entry(t, nil, nil, list{"/admin/**"})}
		apiAdmin   = matchList{entry(t, list{"api.example.com"}, list{"GET"}, list{"/admin/**"})}
		adminOrAPI = matchList{entry(t, nil, nil, list{"/admin/**"}), entry(t, list{"api.example.com"}, nil, nil)}
		two        = matchList{entry(t, nil, list{"GET"}, list{"/a", "/b"}), entry(t, nil, list{"POST"}, list{"/c"})}
	)
	tests := []struct {
		name                 string
		match                matchList
		method, host, target string
		fits, ambiguous      bool
	}{
		{"no match fits everything", everything, "GET", "x", "/a", true, false},
		{"no match fits an ambiguous path", everything, "GET", "x", "/a//b", true, false},
		{"no match fits a missing path", everything, "CONNECT", "x", "", true, false},
		{"the host fits", api, "GET", "api.example.com", "/", true, false},
		{"the host does not fit", api, "GET", "example.com", "/", false, false},
		{"an entry without paths fits an ambiguous path", api, "GET", "api.example.com", "/a;b", true, false},
		{"an entry without paths fits a missing path", api, "CONNECT", "api.example.com", "", true, false},
		{"one of the methods fits", writes, "PUT", "x", "/", true, false},
		{"methods are compared exactly", writes, "Put", "x", "/", false, false}, // D10
		{"the path fits", admin, "GET", "x", "/admin/users", true, false},
		{"the path does not fit", admin, "GET", "x", "/administrator", false, false}, // D9
		{"a path entry does not fit a missing path", admin, "CONNECT", "x", "", false, false},
		{"a path entry does not fit *", admin, "OPTIONS", "x", "*", false, false},
		{"a path that would have to fit is ambiguous", admin, "GET", "x", "/x/../admin", false, true},
		{"all fields must fit", apiAdmin, "GET", "api.example.com", "/admin", true, false},
		{"another host, so the path is not asked", apiAdmin, "GET", "www.example.com", "/admin//", false, false},
		{"another method, so the path is not asked", apiAdmin, "POST", "api.example.com", "/admin//", false, false},
		{"only the path is missing", apiAdmin, "GET", "api.example.com", "/admin//", false, true},
		{"an entry that fits wins over an ambiguous one before it", adminOrAPI, "GET", "api.example.com", "/admin//", true, false},
		{"no entry that fits whatever the path is", adminOrAPI, "GET", "www.example.com", "/admin//", false, true},
		{"any of the paths", two, "GET", "x", "/b", true, false},
		{"any of the entries", two, "POST", "x", "/c", true, false},
		{"not across entries", two, "GET", "x", "/c", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fits, ambiguous := tt.match.fits(&Request{Method: tt.method}, tt.host, parsePath(tt.target, false))
			if fits != tt.fits || ambiguous != tt.ambiguous {
				t.Errorf("got fits %t, ambiguous %t; want %t, %t", fits, ambiguous, tt.fits, tt.ambiguous)
			}
		})
	}
}

// A client has no say in which route its request took.
func TestMatchByRoute(t *testing.T) {
	orders, carts := Route{"HTTPRoute", "shop", "orders"}, Route{"GRPCRoute", "shop", "carts"}
	byRoute := matchList{{routes: []Route{orders, carts}}}
	admin := entry(t, nil, nil, []string{"/admin/**"})
	admin.routes = []Route{orders}
	tests := []struct {
		name            string
		match           matchList
		target          string
		routes          []Route
		fits, ambiguous bool
	}{
		{"the route fits", byRoute, "/", []Route{orders}, true, false},
		{"any of the routes", byRoute, "/", []Route{carts}, true, false},
		{"any of the request's", byRoute, "/", []Route{{"HTTPRoute", "shop", "x"}, carts}, true, false},
		{"whatever the path is", byRoute, "/a//b", []Route{orders}, true, false},
		{"no route is known", byRoute, "/", nil, false, false},
		{"another name", byRoute, "/", []Route{{"HTTPRoute", "shop", "order"}}, false, false},
		{"another namespace", byRoute, "/", []Route{{"HTTPRoute", "stage", "orders"}}, false, false},
		{"another kind", byRoute, "/", []Route{{"GRPCRoute", "shop", "orders"}}, false, false},
		{"routes have case", byRoute, "/", []Route{{"HTTPRoute", "shop", "Orders"}}, false, false},
		{"the zero route", byRoute, "/", []Route{{}}, false, false},
		{"no match wants a route", nil, "/", []Route{orders}, true, false},
		{"route and path fit", matchList{admin}, "/admin/x", []Route{orders}, true, false},
		{"another path", matchList{admin}, "/x", []Route{orders}, false, false},
		{"another route, so the path is not asked", matchList{admin}, "/admin//x", []Route{carts}, false, false},
		{"only the path is missing", matchList{admin}, "/admin//x", []Route{orders}, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fits, ambiguous := tt.match.fits(&Request{Method: "GET", Routes: tt.routes}, "x", parsePath(tt.target, false))
			if fits != tt.fits || ambiguous != tt.ambiguous {
				t.Errorf("got fits %t, ambiguous %t; want %t, %t", fits, ambiguous, tt.fits, tt.ambiguous)
			}
		})
	}
}
