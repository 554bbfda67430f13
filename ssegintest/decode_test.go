package ssegintest

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// The rows are those of the Unicode Standard, tables 3-8 to 3-11, and what
// TextDecoder makes of them.
func TestDecode_replacesMaximalParts(t *testing.T) {
	const x = "\ufffd"
	for in, want := range map[string]string{
		"":                                  "",
		"ä€𝄞":                               "ä€𝄞",
		"\x80":                              x,
		"a\xff\xfeb":                        "a" + x + x + "b",
		"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82A": x + x + x + x + x + x + x + x + "A", // overlong
		"\xed\xa0\x80\xed\xbf\xbf\xed\xafA": x + x + x + x + x + x + x + x + "A", // surrogates
		"\xf4\x91\x92\x93\xffA\x80\xbfB":    x + x + x + x + x + "A" + x + x + "B",
		"\xe1\x80\xe2\xf0\x91\x92\xf1\xbfA": x + x + x + x + "A", // truncated
		"a\xf1\x80\x80\xe1\x80\xc2b\x80c\x80\xbfd": "a" + x + x + x + "b" + x + "c" + x + x + "d",
		"\ufffd\xe2\x82": x + x,
		"\xf0\x9f\x92":   x,
	} {
		assert.Equal(t, want, decode([]byte(in)), "% x", in)
	}
}

func FuzzDecode_isUTF8AndLeavesUTF8Alone(f *testing.F) {
	f.Add([]byte("a\xf1\x80\x80\xe1\x80\xc2b"))
	f.Fuzz(func(t *testing.T, in []byte) {
		out := decode(in)
		assert.True(t, utf8.ValidString(out))
		assert.Equal(t, utf8.Valid(in), out == string(in))
	})
}
