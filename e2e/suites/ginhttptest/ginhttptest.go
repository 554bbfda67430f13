// Package ginhttptest takes the place of net/http/httptest in the tests of other
// projects: its servers put the handler that they are given into a Gin engine,
// and, if the environment says so, behind ssegin.Middleware.
package ginhttptest

import (
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

// Key is the variable of the environment that says what stands before the
// handler: Bare or Behind. There is no default: a run that measures the wrong
// thing must not pass.
const Key = "SSEGIN_SUITE"

// What Key may be.
const (
	Bare   = "bare"       // an engine without middleware
	Behind = "middleware" // an engine with ssegin.Middleware
)

// DefaultRemoteAddr is that of httptest.
const DefaultRemoteAddr = httptest.DefaultRemoteAddr

// Server is that of httptest.
type Server = httptest.Server

// ResponseRecorder is that of httptest: who calls a handler without a server
// calls it without an engine.
type ResponseRecorder = httptest.ResponseRecorder

// What makes no server is as in httptest.
var (
	NewRecorder           = httptest.NewRecorder
	NewRequest            = httptest.NewRequest
	NewRequestWithContext = httptest.NewRequestWithContext
)

// NewServer starts a server that has h in an engine.
func NewServer(h http.Handler) *Server { return httptest.NewServer(engine(h)) }

// NewTLSServer starts a server with TLS that has h in an engine.
func NewTLSServer(h http.Handler) *Server { return httptest.NewTLSServer(engine(h)) }

// NewUnstartedServer makes a server that has h in an engine.
func NewUnstartedServer(h http.Handler) *Server { return httptest.NewUnstartedServer(engine(h)) }

// engine leaves everything to h: each path, each method, 404 and 405, and which
// path is redirected to which.
func engine(h http.Handler) *gin.Engine {
	if h == nil {
		h = http.DefaultServeMux
	}
	gin.SetMode(gin.ReleaseMode) // examples compare what is printed
	e := gin.New()
	switch stands := os.Getenv(Key); stands {
	case Bare:
	case Behind:
		e.Use(ssegin.Middleware())
	default:
		panic("ginhttptest: " + Key + " is " + stands)
	}
	e.Any("/*path", gin.WrapH(h))
	e.NoRoute(func(c *gin.Context) { // the methods that Gin has no name for
		c.Status(http.StatusOK)
		h.ServeHTTP(c.Writer, c.Request)
	})
	return e
}
