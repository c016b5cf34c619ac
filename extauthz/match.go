package extauthz

import "slices"

// matchEntry is one entry of a policy's match. All that it has must fit; what it
// does not have fits anything.
type matchEntry struct {
	hosts   []hostPattern
	methods []string
	routes  []Route
	paths   []pathPattern
}

// matchList is a policy's match. The empty list fits every request.
type matchList []matchEntry

// fits reports whether an entry of the list fits a request. If none does, but
// one would need only its path to fit and the path is ambiguous, the answer is
// ambiguous: such a request belongs to this policy or does not, depending on who
// reads it, so that no later and weaker policy may have a say.
//
// host is what canonicalHost returned.
func (m matchList) fits(r *Request, host string, path requestPath) (fits, ambiguous bool) {
	if len(m) == 0 {
		return true, false
	}
	for i := range m {
		e := &m[i]
		if !e.fitsHost(host) || len(e.methods) > 0 && !slices.Contains(e.methods, r.Method) || !e.fitsRoute(r.Routes) {
			continue
		}
		if len(e.paths) == 0 {
			return true, false
		}
		if path.ambiguous {
			ambiguous = true
			continue
		}
		if e.fitsPath(path.matched) {
			return true, false
		}
	}
	return false, ambiguous
}

func (e *matchEntry) fitsHost(host string) bool {
	for i := range e.hosts {
		if e.hosts[i].match(host) {
			return true
		}
	}
	return len(e.hosts) == 0
}

// fitsRoute reports whether one of the request's routes is wanted. A request
// whose route is not known fits no entry that wants one.
func (e *matchEntry) fitsRoute(routes []Route) bool {
	return len(e.routes) == 0 || containsAny(routes, e.routes)
}

func (e *matchEntry) fitsPath(path string) bool {
	for i := range e.paths {
		if e.paths[i].match(path) {
			return true
		}
	}
	return false
}
