package stacks

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/CAFxX/httpcompression"
	gincache "github.com/chenyahui/gin-cache"
	"github.com/chenyahui/gin-cache/persist"
	sentrygin "github.com/getsentry/sentry-go/gin"
	"github.com/gin-contrib/cache"
	"github.com/gin-contrib/cache/persistence"
	"github.com/gin-contrib/cors"
	"github.com/gin-contrib/gzip"
	"github.com/gin-contrib/logger"
	"github.com/gin-contrib/requestid"
	"github.com/gin-contrib/secure"
	"github.com/gin-contrib/sessions"
	"github.com/gin-contrib/sessions/cookie"
	ginslog "github.com/gin-contrib/slog"
	ginzap "github.com/gin-contrib/zap"
	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzhttp"
	"github.com/newrelic/go-agent/v3/integrations/nrgin"
	"github.com/newrelic/go-agent/v3/newrelic"
	sloggin "github.com/samber/slog-gin"
	"github.com/stretchr/testify/require"
	ginprometheus "github.com/zsais/go-gin-prometheus"
	"go.opentelemetry.io/contrib/instrumentation/github.com/gin-gonic/gin/otelgin"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.uber.org/zap"
)

// A stack is a server with something before the streams: a middleware of Gin's, or a
// handler around the engine.
type stack struct {
	name   string
	use    func(t *testing.T) gin.HandlerFunc
	around func(t *testing.T, h http.Handler) http.Handler
	needs  string // what its user must do; "" if that is nothing
}

// plain is a middleware that needs nothing of the test.
func plain(h gin.HandlerFunc) func(*testing.T) gin.HandlerFunc {
	return func(*testing.T) gin.HandlerFunc { return h }
}

const (
	leaveOut     = "leave the paths of streams out"
	sizesAreLost = "nothing; what it measures of a detached stream ends as that begins"
)

var stacks = []stack{
	{name: "nothing", use: plain(func(*gin.Context) {})},
	{name: "gin.Logger", use: plain(gin.LoggerWithWriter(io.Discard)), needs: sizesAreLost},
	{name: "gin-contrib/cors", use: plain(cors.Default())},
	{name: "gin-contrib/requestid", use: plain(requestid.New())},
	{name: "gin-contrib/secure", use: plain(secure.New(secure.Config{FrameDeny: true, ContentTypeNosniff: true}))},
	{name: "gin-contrib/sessions", use: plain(sessions.Sessions("session", cookie.NewStore([]byte("secret")))), needs: "save the session before the first event"},
	{name: "gin-contrib/logger (zerolog)", use: plain(logger.SetLogger(logger.WithWriter(io.Discard))), needs: sizesAreLost},
	{name: "gin-contrib/zap", use: plain(ginzap.Ginzap(zap.NewNop(), time.RFC3339, true)), needs: sizesAreLost},
	{name: "gin-contrib/slog", use: plain(ginslog.SetLogger(ginslog.WithWriter(io.Discard))), needs: sizesAreLost},
	{name: "samber/slog-gin", use: plain(sloggin.New(slog.New(slog.DiscardHandler))), needs: "set `ConnContext`"},
	{name: "samber/slog-gin with bodies", use: plain(sloggin.NewWithConfig(slog.New(slog.DiscardHandler), sloggin.Config{WithResponseBody: true})), needs: leaveOut + ": it keeps the bodies"},
	{name: "zsais/go-gin-prometheus", use: plain(ginprometheus.NewPrometheus("gin").HandlerFunc()), needs: sizesAreLost},
	{name: "otelgin", use: plain(otelgin.Middleware("app")), needs: sizesAreLost},
	{
		name: "otelhttp around the engine", around: func(_ *testing.T, h http.Handler) http.Handler { return otelhttp.NewHandler(h, "app") }, needs: sizesAreLost,
	},
	{
		name: "nrgin (New Relic)", use: nrginMiddleware, needs: "set `ConnContext`",
	},
	{name: "sentry-go/gin", use: plain(sentrygin.New(sentrygin.Options{}))},
	{name: "gin-contrib/gzip", use: plain(gzip.Gzip(gzip.DefaultCompression)), needs: "set `ConnContext`; better, " + leaveOut + " (`gzip.WithExcludedPaths`): it takes 0.8 MB for each stream"},
	{name: "klauspost/compress/gzhttp", around: func(_ *testing.T, h http.Handler) http.Handler { return gzhttp.GzipHandler(h) }},
	{name: "CAFxX/httpcompression", around: compress(), needs: leaveOut + ": it passes nothing on before it has 200 bytes"},
	{name: "CAFxX/httpcompression with `MinSize(1)`", around: compress(httpcompression.MinSize(1)), needs: "set `ConnContext`; better, " + leaveOut},
	{name: "gin-contrib/cache", use: plain(cache.CachePage(persistence.NewInMemoryStore(time.Minute), time.Minute, func(c *gin.Context) { c.Next() })), needs: leaveOut + ": it keeps what it sees"},
	{name: "chenyahui/gin-cache", use: plain(gincache.CacheByRequestURI(persist.NewMemoryStore(time.Minute), time.Minute)), needs: leaveOut + ": it keeps what it sees"},
	{name: "a deadline in the request's context", use: plain(bounded), needs: leaveOut + ", or use `WithPolling`"},
	{name: "http.TimeoutHandler around the engine", around: func(_ *testing.T, h http.Handler) http.Handler {
		return http.TimeoutHandler(h, deadline, "too late")
	}, needs: leaveOut + ": an EventSource stops for good at its 503"},
}

// deadline is that of what bounds requests.
const deadline = time.Second

func bounded(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), deadline)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	c.Next()
}

// nrginMiddleware is New Relic's without a connection to New Relic.
func nrginMiddleware(t *testing.T) gin.HandlerFunc {
	app, err := newrelic.NewApplication(newrelic.ConfigAppName("app"), newrelic.ConfigEnabled(false))
	require.NoError(t, err)
	return nrgin.Middleware(app)
}

func compress(opts ...httpcompression.Option) func(*testing.T, http.Handler) http.Handler {
	return func(t *testing.T, h http.Handler) http.Handler {
		around, err := httpcompression.DefaultAdapter(opts...)
		require.NoError(t, err)
		return around(h)
	}
}
