package storetest

import "strings"

// hostile returns names that a store could take for one another, or for more than
// a name: by case, padding, patterns, delimiters, or a protocol's line ends (OWASP
// ASVS 5.0, 1.2.4). The longest has 512 bytes.
func hostile() []string {
	long := strings.Repeat("n", 511)
	return []string{
		"a", "A", "a ", " a", "a\t", "a\n", "a\x00", "\x00a", "a\x00b", "ab", "a:b", "a/b", "a|b", "a,b", "a.b", "a-b", `a\b`,
		"*", "a*", "?", "[a]", "%", "_", "{}", "{a}", "{a}b", "a{}", "'", "' OR ''='", `"`, `";--`, "--", "$1", "KEYS[1]",
		"\r\n", "\r\n*1\r\n", "\r\n*1\r\n$8\r\nFLUSHALL\r\n", "0", "00", "-1", "1e3", "true", "null", "nil", "NaN",
		"é", "e\u0301", "É", "\ufffd", "\xff", "\xfe", "\xc3\x28", "\u200b", "a\u200b", "ß", "ss", "K", "\u212a",
		long, long + "n", long + "N", long + "\x00",
	}
}
