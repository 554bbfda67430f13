package natslog

import (
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
)

func TestRetry_isInMilliseconds(t *testing.T) {
	for text, d := range map[string]time.Duration{
		"1500":                 1500 * time.Millisecond,
		"0.25":                 250 * time.Microsecond,
		"0.000001":             time.Nanosecond,
		"9223372036854.775807": math.MaxInt64,
	} {
		assert.Equal(t, text, formatRetry(d))
		assert.Equal(t, d, parseRetry(text), text)
	}
	for _, text := range []string{"", "-1", "+1", "1s", "1e3", ".5", "1.2.3", "0.0000001", "9223372036854.775808", "99999999999999999999", "٣", " 1"} {
		assert.Zero(t, parseRetry(text), "%q", text)
	}
	assert.Equal(t, time.Second, parseRetry("1000."))
}

func TestMessage_hasOnlyTheHeadersThatItNeeds(t *testing.T) {
	m, err := newMessage("ev", eventlog.Entry{Topic: "t", Data: []byte("x")})
	require.NoError(t, err)
	assert.Empty(t, m.Header)

	m, err = newMessage("ev", eventlog.Entry{Type: " 50%\t", Retry: time.Second, End: true, MessageID: "id 1"})
	require.NoError(t, err)
	assert.Equal(t, nats.Header{
		"Ssegin-Type":    {"%2050%25%09"},
		"Ssegin-Retry":   {"1000"},
		"Ssegin-End":     {"true"},
		"Ssegin-No-Data": {"true"},
		"Nats-Msg-Id":    {"id 1"},
	}, m.Header)
	assert.Equal(t, "ev", m.Subject)
}
