package extauthz

import (
	"cmp"
	"maps"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

const (
	defaultListen             = "127.0.0.1:9191"
	defaultAdminListen        = "127.0.0.1:9190"
	defaultCheckTimeout       = 150 * time.Millisecond
	defaultMaxConnectionAge   = 10 * time.Minute
	defaultDrainDelay         = 5 * time.Second
	defaultDrainTimeout       = 20 * time.Second
	defaultReloadInterval     = 2 * time.Second
	defaultMaxEntries         = 100_000
	defaultMaxBytes           = 128 << 20
	defaultLeeway             = 30 * time.Second
	defaultRefresh            = time.Hour
	defaultMaxStale           = 24 * time.Hour
	defaultUnknownKeyInterval = 30 * time.Second
	defaultFetchTimeout       = 5 * time.Second
	defaultRealm              = "claimgate"

	// adminOff as admin.listen turns that listener off.
	adminOff = "off"
)

func pointee[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}

func (c *ServerConfig) checkTimeout() time.Duration {
	return cmp.Or(time.Duration(c.CheckTimeout), defaultCheckTimeout)
}

// maxConnectionAge returns 0 for never.
func (c *ServerConfig) maxConnectionAge() time.Duration {
	return time.Duration(pointee(c.MaxConnectionAge, Duration(defaultMaxConnectionAge)))
}

func (c *ServerConfig) drainDelay() time.Duration {
	return time.Duration(pointee(c.DrainDelay, Duration(defaultDrainDelay)))
}

func (c *ServerConfig) drainTimeout() time.Duration {
	return time.Duration(pointee(c.DrainTimeout, Duration(defaultDrainTimeout)))
}

// reloadInterval returns 0 for never.
func (c *ServerConfig) reloadInterval() time.Duration {
	return time.Duration(pointee(c.ReloadInterval, Duration(defaultReloadInterval)))
}

func (c *TokenCacheConfig) maxEntries() int { return pointee(c.MaxEntries, defaultMaxEntries) }

func (c *TokenCacheConfig) maxBytes() int64 { return int64(pointee(c.MaxBytes, defaultMaxBytes)) }

func (c *LogConfig) subject() bool { return pointee(c.Subject, true) }

func (c *IssuerConfig) leeway() time.Duration {
	return time.Duration(pointee(c.Leeway, Duration(defaultLeeway)))
}

// refresh returns the lifetime of keys, and whether it is an upper bound too.
func (c *KeysConfig) refresh() (d time.Duration, bound bool) {
	return cmp.Or(time.Duration(c.Refresh), defaultRefresh), c.Refresh != 0
}

func (c *KeysConfig) maxStale() time.Duration {
	return cmp.Or(time.Duration(c.MaxStale), defaultMaxStale)
}

func (c *KeysConfig) unknownKeyInterval() time.Duration {
	return cmp.Or(time.Duration(c.UnknownKeyInterval), defaultUnknownKeyInterval)
}

func (c *HTTPConfig) timeout() time.Duration {
	return cmp.Or(time.Duration(c.Timeout), defaultFetchTimeout)
}

// fillDefaults makes every default explicit but four: log.format depends on the
// terminal, keys.refresh is an upper bound only if it is written down, a nil
// list of algorithms, token types or claims means the preset's, and so does
// forwardToken, whose default depends on the request.
func (c *Config) fillDefaults() {
	s := &c.Server
	s.Listen = cmp.Or(s.Listen, defaultListen)
	s.CheckTimeout = Duration(s.checkTimeout())
	s.MaxConnectionAge = new(Duration(s.maxConnectionAge()))
	s.DrainDelay = new(Duration(s.drainDelay()))
	s.DrainTimeout = new(Duration(s.drainTimeout()))
	s.ReloadInterval = new(Duration(s.reloadInterval()))
	s.PathParameters = cmp.Or(s.PathParameters, PathParametersReject)
	c.TokenCache.MaxEntries = new(c.TokenCache.maxEntries())
	c.TokenCache.MaxBytes = new(Size(c.TokenCache.maxBytes()))
	c.Admin.Listen = cmp.Or(c.Admin.Listen, defaultAdminListen)
	c.Log.Level = cmp.Or(c.Log.Level, "info")
	c.Log.Decisions = cmp.Or(c.Log.Decisions, "denied")
	c.Log.Subject = new(c.Log.subject())
	if c.Headers == nil {
		c.Headers = maps.Clone(defaultHeaders)
	}
	for i := range c.Issuers {
		c.Issuers[i].fillDefaults()
	}
	for i := range c.Policies {
		c.Policies[i].fillDefaults()
	}
}

func (c *IssuerConfig) fillDefaults() {
	c.Name = cmp.Or(c.Name, issuerName(c.Issuer))
	c.Preset = cmp.Or(c.Preset, oidc.PresetGeneric)
	c.Leeway = new(Duration(c.leeway()))
	c.Keys.MaxStale = Duration(c.Keys.maxStale())
	c.Keys.UnknownKeyInterval = Duration(c.Keys.unknownKeyInterval())
	c.HTTP.Timeout = Duration(c.HTTP.timeout())
}

func (c *PolicyConfig) fillDefaults() {
	c.Access = cmp.Or(c.Access, AccessToken)
	c.Realm = cmp.Or(c.Realm, defaultRealm)
	if c.TokenFrom == nil {
		c.TokenFrom = []TokenSourceConfig{{Header: "authorization", Scheme: "Bearer"}}
	}
}
