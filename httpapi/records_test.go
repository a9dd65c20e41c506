package httpapi

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/node"
)

// parseAll returns what a parser makes of an input, a line each: the number,
// and the record or the error.
func parseAll(t testing.TB, s *Server, format client.Format, in io.Reader) []string {
	t.Helper()
	p, err := s.newParser(string(format), in)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	var rec node.Record
	for {
		switch err := p.next(&rec); {
		case err == nil:
			line := fmt.Sprintf("%d: %q = %q %s", rec.Line, rec.Key, rec.Value, rec.ContentType)
			if rec.Expires != 0 {
				line += fmt.Sprint(" until ", rec.Expires)
			}
			all = append(all, line)
		case errors.Is(err, io.EOF):
			return all
		case isBad(err):
			all = append(all, fmt.Sprintf("%d: %v", rec.Line, err))
		default:
			return append(all, err.Error())
		}
	}
}

func TestParsers(t *testing.T) {
	t.Parallel()
	const text, binary = " text/plain; charset=utf-8", " application/octet-stream"
	long := strings.Repeat("v", 300<<10)
	for name, test := range map[string]struct {
		format client.Format
		in     string
		want   []string
	}{
		"text": {client.Text, "a 1\nb  2 3\r\n\n \t\r\nbad\n x\nc \n\xff \xfe\nlast 1",
			[]string{`1: "a" = "1"` + text, `2: "b" = " 2 3"` + text, "5: no space stands between key and value",
				"6: the key is empty", `7: "c" = ""` + text, `8: "\xff" = "\xfe"` + binary, `9: "last" = "1"` + text}},
		"text too long": {client.Text, "a 1\nb " + long + "\nc 3\n" + long + "\nd 4\ne " + long,
			[]string{`1: "a" = "1"` + text, "2: " + errLongLine.Error(), `3: "c" = "3"` + text,
				"4: " + errLongLine.Error(), `5: "d" = "4"` + text, "6: " + errLongLine.Error()}},
		"text above the limits": {client.Text, strings.Repeat("k", 21) + " v\na " + strings.Repeat("v", 51) + "\nb 2\n",
			[]string{"1: the key has 21 bytes, the limit is 20", "2: the value of 51 bytes is above the limit of 50 bytes",
				`3: "b" = "2"` + text}},
		"csv": {client.CSV, "key,value\na,1\r\n\"b\"\"x\",\"2,\r\n3\"\n\nc,\"\"\nkey,value\nd,4",
			[]string{`2: "a" = "1"` + text, `3: "b\"x" = "2,\r\n3"` + text, `6: "c" = ""` + text,
				`7: "key" = "value"` + text, `8: "d" = "4"` + text}},
		"csv without a header": {client.CSV, "\nKey,value\n,x\n",
			[]string{`2: "Key" = "value"` + text, "3: the key is empty"}},
		"csv errors": {client.CSV, "a\na,b,c\n\"a\",\"b\",\"c\"\na\"b,c\n\"a\"b,c\n\"a\"\nok,1\n\"a\nb",
			[]string{"1: the record has 1 columns, want 2", "2: the record has 3 columns, want 2",
				"3: the record has 3 columns, want 2", "4: " + errBareQuote.Error(), "5: " + errAfterQuote.Error(),
				"6: the record has 1 columns, want 2", `7: "ok" = "1"` + text, "8: " + errOpenQuote.Error(), "9: the record has 1 columns, want 2"}},
		"csv too long": {client.CSV, "a," + long + "\nb,2\n\"c\",\"x\n" + strings.Repeat(long+"\"\"\n", 3) + "\"\nd,4\n",
			[]string{"1: " + errLongLine.Error(), `2: "b" = "2"` + text, "3: " + errOpenQuote.Error(), "4: " + errLongLine.Error(),
				"5: " + errLongLine.Error(), "6: " + errLongLine.Error(), "7: " + errOpenQuote.Error(), `8: "d" = "4"` + text}},
		"csv of many lines too long": {client.CSV, "\"a\",\"" + strings.Repeat("x,y\n", 40) + "\"\nb,2\n",
			append(append([]string{"1: " + errOpenQuote.Error()}, numbered(2, 40, `"x" = "y"`+text)...),
				"41: "+errOpenQuote.Error(), `42: "b" = "2"`+text)},
		"csv with a stray quote": {client.CSV, "a1,1\n\"oops,2\nb1,3\nc1,4\n",
			[]string{`1: "a1" = "1"` + text, "2: " + errOpenQuote.Error(), `3: "b1" = "3"` + text, `4: "c1" = "4"` + text}},
		"csv with two stray quotes": {client.CSV, "\"a,1\nb,2\nc,\"3\"\nd,\"\n4\",\"\ne,5\nf,\"6",
			[]string{"1: " + errAfterQuote.Error(), `2: "b" = "2"` + text, `3: "c" = "3"` + text,
				"4: " + errAfterQuote.Error(), "5: " + errBareQuote.Error(), `6: "e" = "5"` + text, "7: " + errOpenQuote.Error()}},
		"ndjson": {client.NDJSON, `{"key":"a","value":"1"}
 { "value" : "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00" , "key" : "b" , "content_type": "x/y", "ttl":null } ` + `
{"key_b64":"/w==","value_b64":""}

{"key":"c","value":"3","expires":"2033-05-18T03:33:20.5Z"}
{"key":"d","value":"4","ttl":"1s"}`,
			[]string{`1: "a" = "1"` + text, `2: "b" = "\"\\/\b\f\n\r\té😀" x/y`, `3: "\xff" = ""` + binary,
				`5: "c" = "3"` + text + " until 2000000000500", `6: "d" = "4"` + text + " until 1000001000"}},
		"ndjson errors": {client.NDJSON, strings.Join([]string{
			`[]`, `{`, `{}`, `{"key":"a"}`, `{"key":"a","key_b64":"YQ==","value":"1"}`, `{"key":"a","value":1}`,
			`{"key":"a","value":"1","more":"2"}`, `{"key":"a","key":"b","value":"1"}`, `{"key":"a","value":"1"}x`,
			`{"key":"a","value":"1",}`, `{"key":"a" "value":"1"}`, `{"key":"\ud800","value":"1"}`, `{"key":"\x","value":"1"}`,
			`{"key":"` + "\xff" + `","value":"1"}`, `{"key_b64":"Y","value":"1"}`, `{"key":"a","value":"1","expires":"soon"}`,
			`{"key":"a","value":"1","ttl":"0s"}`, `{"key":"","value":"1"}`, `{"key":"a","value":"1","content_type":"\n"}`,
			`{"key":"a","value":"` + "\t" + `"}`, `{"key":"a`, `{"key":"ok","value":"1"}`}, "\n"),
			[]string{"1: " + errNotObject.Error(), "2: " + errNotString.Error(), "3: neither key nor key_b64 is given",
				"4: neither value nor value_b64 is given", "5: key and key_b64 are both given", "6: " + errNotString.Error(),
				`7: unknown member "more"`, `8: member "key" is given twice`, "9: " + errNotObject.Error(),
				"10: " + errNotString.Error(), "11: " + errNotObject.Error(), "12: " + errSurrogate.Error(),
				"13: " + errBadEscape.Error(), "14: " + errNotUTF8.Error(), "15: key_b64: illegal base64 data at input byte 0",
				`16: expires "soon": want a time as RFC 3339 has it`,
				`17: ttl "0s": want a duration above zero and up to 100 years, such as 60s or 12h`, "18: the key is empty",
				"19: the content type has byte 0x0a, want printable ASCII", "20: " + errNotString.Error(),
				"21: " + errNotString.Error(), `22: "ok" = "1"` + text}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFake(t).serve(t, Config{
				Limits: Limits{Key: 20, Value: 50}, Now: func() time.Time { return time.Unix(1_000_000, 0) },
			})
			for how, in := range map[string]io.Reader{
				"whole": strings.NewReader(test.in), "halves": iotest.HalfReader(strings.NewReader(test.in)),
				"bytes": iotest.OneByteReader(strings.NewReader(test.in)),
			} {
				if how == "bytes" && len(test.in) > 10_000 {
					continue
				}
				got := parseAll(t, s, test.format, in)
				for i := range max(len(got), len(test.want)) {
					g, w := "nothing", "nothing"
					if i < len(got) {
						g = got[i]
					}
					if i < len(test.want) {
						w = test.want[i]
					}
					if g != w {
						t.Errorf("%s: result %d is\n%s, want\n%s", how, i, g, w)
					}
				}
			}
		})
	}
}

// numbered returns want for the lines from first to last.
func numbered(first, last int, want string) []string {
	var all []string
	for i := first; i <= last; i++ {
		all = append(all, fmt.Sprintf("%d: %s", i, want))
	}
	return all
}

// An input that breaks off is not taken for one that ends, and half a line not
// for a record.
func TestParserReadError(t *testing.T) {
	t.Parallel()
	s := newFake(t).serve(t, Config{})
	for format, in := range map[client.Format]string{
		client.Text: "a 1\nb 2", client.CSV: "a,1\nb,2", client.NDJSON: `{"key":"a","value":"1"}` + "\n" + `{"key":"b","value":"2"}`,
	} {
		got := parseAll(t, s, format, io.MultiReader(strings.NewReader(in), iotest.ErrReader(io.ErrUnexpectedEOF)))
		if len(got) != 2 || !strings.HasPrefix(got[0], `1: "a"`) || got[1] != "unexpected EOF" {
			t.Errorf("%s: %q", format, got)
		}
	}
}

// The memory of a parser depends on its limits and not on its input.
func TestParserMemoryIsFlat(t *testing.T) {
	t.Parallel()
	s := newFake(t).serve(t, Config{Limits: Limits{Key: 20, Value: 1000}})
	endless := io.LimitReader(repeat(strings.Repeat("x", 999)), 4<<20)
	p := &textParser{lines: newLines(endless, 1100), limits: &s.limits}
	var rec node.Record
	if err := p.next(&rec); !isBad(err) {
		t.Errorf("error %v", err)
	}
	if n := len(p.lines.buf); n > 2*lineBuffer {
		t.Errorf("the buffer has grown to %d bytes", n)
	}
	quoted := &csvParser{
		lines:  newLines(io.MultiReader(strings.NewReader(`a,"`), io.LimitReader(repeat("xy\n"), 4<<20)), 2100),
		limits: &s.limits,
	}
	if err := quoted.next(&rec); !isBad(err) {
		t.Errorf("error %v", err)
	}
	if err := quoted.next(&rec); !isBad(err) || rec.Line != 2 {
		t.Errorf("line %d: error %v", rec.Line, err)
	}
	if n := cap(quoted.text) + len(quoted.lines.buf); n > 2*lineBuffer {
		t.Errorf("the record has grown to %d bytes", n)
	}
}

// repeat is an endless reader of text.
type repeat string

func (r repeat) Read(p []byte) (int, error) {
	n := 0
	for n+len(r) <= len(p) {
		n += copy(p[n:], r)
	}
	if n == 0 {
		n = copy(p, r)
	}
	return n, nil
}

// FuzzText holds the text parser to what it is by definition.
func FuzzText(f *testing.F) {
	f.Add([]byte("a 1\nb  2\r\n\nbad\n \nlast "))
	s := newFake(f).serve(f, Config{Limits: Limits{Key: 8, Value: 16}})
	f.Fuzz(func(t *testing.T, in []byte) {
		var want []string
		for i, line := range strings.Split(strings.TrimSuffix(string(in), "\n"), "\n") {
			line = strings.TrimSuffix(line, "\r")
			key, value, found := strings.Cut(line, " ")
			switch {
			case strings.Trim(line, " \t\r") == "":
			case found && key != "" && len(key) <= 8 && len(value) <= 16:
				want = append(want, fmt.Sprintf("%d: %q = %q", i+1, key, value))
			default:
				want = append(want, fmt.Sprintf("%d: ", i+1))
			}
		}
		got := parseAll(t, s, client.Text, iotest.HalfReader(bytes.NewReader(in)))
		if len(got) != len(want) {
			t.Fatalf("%q: got %q, want %q", in, got, want)
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%q: got %q, want %q", in, got[i], want[i])
			}
		}
	})
}

// FuzzCSV compares with encoding/csv, which is as strict, but for the ends of
// lines within quotes and for what is blank.
func FuzzCSV(f *testing.F) {
	f.Add([]byte("a,1\n\"b\"\"\",\"2\n3\"\nc\nd,\"\"\n"))
	f.Add([]byte("\"a,1\nb,\"2\"x\n,\n\"\",\"\n\""))
	s := newFake(f).serve(f, Config{})
	f.Fuzz(func(t *testing.T, in []byte) {
		got := parseAll(t, s, client.CSV, iotest.HalfReader(bytes.NewReader(in)))
		last := 0
		for _, result := range got {
			number, _, _ := strings.Cut(result, ":")
			if line, err := strconv.Atoi(number); err != nil || line <= last {
				t.Errorf("%q: %q after line %d", in, result, last)
			} else {
				last = line
			}
		}
		if bytes.ContainsAny(in, "\r\t ") || bytes.HasPrefix(bytes.TrimLeft(in, "\n"), []byte("key,value")) {
			return
		}
		r := csv.NewReader(bytes.NewReader(in))
		r.FieldsPerRecord = -1
		for i := 0; ; i++ {
			record, err := r.Read()
			if err != nil {
				if errors.Is(err, io.EOF) != (i == len(got)) {
					t.Errorf("%q: got %q at the end, want %v", in, got[i:], err)
				}
				return // where the two go on after an error may differ
			}
			line, _ := r.FieldPos(0)
			want := fmt.Sprintf("%d: ", line)
			if len(record) == 2 && record[0] != "" && len(record[0]) <= 1024 {
				want += fmt.Sprintf("%q = %q", record[0], record[1])
			}
			if i >= len(got) || !strings.HasPrefix(got[i], want) {
				t.Fatalf("%q: record %d of %q, want %q", in, i, got, want)
			}
		}
	})
}

// FuzzNDJSON compares with encoding/json: what is taken means the same there,
// and what is refused is not a record there, or one that it would change.
func FuzzNDJSON(f *testing.F) {
	f.Add([]byte(`{"key":"a","value":"\u00e9\ud83d\ude00\n"}`))
	f.Add([]byte(` {"key_b64":"/w==" , "value_b64":"", "content_type":"a/b", "expires":"2033-05-18T03:33:20Z"} `))
	f.Add([]byte(`{"key":null,"key_b64":"YQ==","value":"","ttl":"5s"}`))
	f.Add([]byte(`{"key":"\ud800","value":"\q"}`))
	s := newFake(f).serve(f, Config{})
	f.Fuzz(func(t *testing.T, in []byte) {
		if bytes.ContainsAny(in, "\r\n") {
			return
		}
		got := parseAll(t, s, client.NDJSON, bytes.NewReader(in))
		if len(got) == 0 {
			if len(bytes.Trim(in, " \t")) > 0 {
				t.Errorf("%q is not read", in)
			}
			return
		}
		taken := strings.HasPrefix(got[0], `1: "`)
		var want client.Record
		strict := json.NewDecoder(bytes.NewReader(in))
		strict.DisallowUnknownFields()
		err := strict.Decode(&want)
		if taken && err != nil {
			t.Fatalf("%q is taken as %q; encoding/json says %v", in, got[0], err)
		}
		if key := want.RawKey(); taken && !strings.HasPrefix(got[0], fmt.Sprintf("1: %q = %q", key, want.RawValue())) {
			t.Errorf("%q: got %q, want %q = %q", in, got[0], key, want.RawValue())
		}
		if !taken && err == nil && utf8.Valid(in) && plainRecord(in, &want) {
			t.Errorf("%q: %s", in, got[0])
		}
	})
}

// plainRecord reports whether rec has nothing that a bulk load may refuse.
func plainRecord(in []byte, rec *client.Record) bool {
	return rec.Key != nil && rec.KeyB64 == nil && rec.Value != nil && rec.ValueB64 == nil && *rec.Key != "" &&
		len(in) < 500 && rec.Expires == nil && rec.TTL == "" && rec.ContentType == "" &&
		!bytes.Contains(in, []byte(`\u`)) && bytes.Count(in, []byte(`"`)) == 8 && json.Valid(in) &&
		bytes.Contains(in, []byte(`"key"`)) && bytes.Contains(in, []byte(`"value"`))
}

// BenchmarkParse is how fast records are read, of a UUID as key and one as
// value each.
func BenchmarkParse(b *testing.B) {
	const id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	s := newFake(b).serve(b, Config{})
	for _, bench := range []struct {
		name   string
		format client.Format
		line   string
	}{
		{"text", client.Text, id + " " + id + "\n"},
		{"csv", client.CSV, id + "," + id + "\n"},
		{"csv-quoted", client.CSV, `"` + id + `","` + id + "\"\n"},
		{"ndjson", client.NDJSON, `{"key":"` + id + `","value":"` + id + "\"}\n"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.line)))
			p, err := s.newParser(string(bench.format), repeat(strings.Repeat(bench.line, 100)))
			if err != nil {
				b.Fatal(err)
			}
			var rec node.Record
			for b.Loop() {
				if err := p.next(&rec); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
