// Package frameworks shows the middleware in chi, echo, gin and Connect. It is a
// module of its own, so that Claimgate needs none of them.
package frameworks

import (
	"context"
	"net/http"

	"connectrpc.com/grpchealth"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"

	"github.com/claimgate/claimgate/oidc/middleware"
)

// withChi: chi takes what net/http takes.
func withChi(guard *middleware.Guard) http.Handler {
	router := chi.NewRouter()
	router.Use(guard.Handler)
	router.Get("/orders", func(w http.ResponseWriter, r *http.Request) {
		token, _ := middleware.TokenFrom(r.Context())
		_, _ = w.Write([]byte(token.Subject))
	})
	router.With(guard.RequireScopes("orders.write")).Post("/orders", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
	})
	return router
}

// withEcho: echo wraps it.
func withEcho(guard *middleware.Guard) http.Handler {
	router := echo.New()
	router.Use(echo.WrapMiddleware(guard.Handler))
	router.GET("/orders", func(c echo.Context) error {
		token, _ := middleware.TokenFrom(c.Request().Context())
		return c.String(http.StatusOK, token.Subject)
	})
	router.POST("/orders", func(c echo.Context) error {
		return c.NoContent(http.StatusCreated)
	}, echo.WrapMiddleware(guard.RequireScopes("orders.write")))
	return router
}

// withGin: gin has handlers of its own, so that it takes an adapter.
func withGin(guard *middleware.Guard) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(ginHandler(guard.Handler))
	router.GET("/orders", func(c *gin.Context) {
		token, _ := middleware.TokenFrom(c.Request.Context())
		c.String(http.StatusOK, token.Subject)
	})
	router.POST("/orders", ginHandler(guard.RequireScopes("orders.write")), func(c *gin.Context) {
		c.Status(http.StatusCreated)
	})
	return router
}

// ginHandler makes a handler of gin of a middleware of net/http. What the
// middleware does not pass on goes no further.
func ginHandler(wrap func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

// withConnect: a service of Connect is a handler of net/http. Its clients get the
// guard's answer as an error of the code that Connect has for the HTTP status.
// The service is the one of health checks, which needs no generated code.
func withConnect(guard *middleware.Guard) http.Handler {
	mux := http.NewServeMux()
	path, service := grpchealth.NewHandler(health{})
	mux.Handle(path, guard.Handler(service))
	return mux
}

type health struct{}

// Check implements grpchealth.Checker.
func (health) Check(ctx context.Context, _ *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	status := grpchealth.StatusNotServing
	if _, ok := middleware.TokenFrom(ctx); ok {
		status = grpchealth.StatusServing
	}
	return &grpchealth.CheckResponse{Status: status}, nil
}
