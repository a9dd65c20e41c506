package rediskv

import (
	"slices"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{ // what the error has in it; empty means none
		"redis://localhost:6379":               "",
		"redis://localhost:6379/":              "",
		"redis://localhost:6379/3":             "",
		"rediss://u:secret@[::1]:6379":         "",
		"redis://:s%40cret@h:1,g:2/0":          "",
		"redis://:p/a@ss:w,rd?#@h:6379":        "",
		"":                                     "does not begin with redis://",
		"localhost:6379":                       "does not begin with redis://",
		"http://localhost:6379":                "does not begin with redis://",
		"redis:/localhost":                     "does not begin with redis://",
		"redis://":                             "host is missing",
		"redis:///0":                           "host is missing",
		"redis://h:1,":                         "host is missing",
		"redis://h:1,,g:2":                     "host is missing",
		"redis://localhost":                    "want host:port",
		"redis://:6379":                        "want host:port",
		"redis://::1:6379":                     "want host:port",
		"redis://h:0":                          "port is not a number",
		"redis://h:65536":                      "port is not a number",
		"redis://h:redis":                      "port is not a number",
		"redis://h:1/a":                        `database "a" is not a number`,
		"redis://h:1/-1":                       `database "-1" is not a number`,
		"redis://h:1/1/2":                      `database "1/2" is not a number`,
		"redis://h:1,g:2/1":                    "no database 1",
		"redis://h:1?db=1":                     "parameters",
		"redis://secret@h:1":                   "without a password",
		"redis://u:secret%zz@h:1":              "no escape",
		"redis://u:secret@":                    "host is missing",
		"redis://u:secret@h":                   "want host:port",
		"redis://u:secret@h:1/x":               "is not a number",
		"rediss://u:secret@h:99999":            "port is not a number",
		"redis://u:secret@more@of:it@h:99999":  "port is not a number",
		"redis://u:secret/with/slashes@h:1,/0": "host is missing",
	} {
		err := Check(url)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Check(%q) = %v, want %q", url, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "more")) {
			t.Errorf("Check(%q) tells the password: %v", url, err)
		}
	}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	got, err := parseURL("rediss://us%20er:p%40ss:w/rd@h:1,[::1]:2/0")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.hosts, []string{"h:1", "[::1]:2"}) || got.user != "us er" || got.password != "p@ss:w/rd" ||
		got.db != 0 || !got.tls || !got.cluster() || got.String() != "h:1,[::1]:2" {
		t.Errorf("got %+v", *got)
	}
	got, err = parseURL("redis://h:1/7")
	if err != nil || got.db != 7 || got.tls || got.cluster() || got.password != "" {
		t.Errorf("got %+v, %v", *got, err)
	}
}
