package validate

import (
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"
)

// ruleName is the code of a rule: its name without parameters, of alternatives
// the names of all.
func ruleName(tag string) string {
	if !strings.ContainsAny(tag, "=|") {
		return tag
	}
	parts := strings.Split(tag, "|")
	for i, p := range parts {
		parts[i], _, _ = strings.Cut(p, "=")
	}
	return strings.Join(parts, "|")
}

// message says in English what the rule wants, from the rule and its parameter
// alone. Parameters are the program's; those that name Go fields are given as
// the client knows the field.
func message(e validator.FieldError, parent reflect.Type) string {
	name := ruleName(e.Tag())
	if form, ok := plainMessages[name]; ok {
		return form
	}
	param := e.Param()
	switch name {
	case "len", "eq", "min", "gte", "max", "lte", "gt", "lt", "ne":
		return compared(name, param, e.Kind(), e.Type())
	case "oneof", "oneofci":
		return "must be one of " + list(param)
	case "noneof", "noneofci":
		return "must be none of " + list(param)
	case "contains":
		return "must contain " + param
	case "excludes":
		return "must not contain " + param
	case "startswith":
		return "must begin with " + param
	case "endswith":
		return "must end with " + param
	case "datetime":
		return "must be a date and time in the form " + param
	}
	if form, ok := fieldMessages[name]; ok {
		if wire := wireName(parent, param); wire != "" {
			return form + wire
		}
	}
	return noWords + name
}

// noWords begins the message of a rule that there is no text for.
const noWords = "does not satisfy the rule "

// compared is the message of a rule that means length for strings and lists,
// and size for numbers.
func compared(name, param string, k reflect.Kind, t reflect.Type) string {
	unit, equal := "", "must be exactly "
	switch k {
	case reflect.String:
		unit = " characters long"
		if name == "eq" || name == "ne" {
			unit = ""
		}
	case reflect.Slice, reflect.Array, reflect.Map:
		unit = " in number"
	default:
		equal = "must be "
	}
	if param == "" && t != nil && t.ConvertibleTo(timeType) {
		return map[string]string{
			"gt": "must be in the future", "gte": "must not be in the past",
			"lt": "must be in the past", "lte": "must not be in the future",
		}[name]
	}
	if param == "1" && unit == " characters long" {
		unit = " character long"
	}
	switch name {
	case "ne":
		return "must not be " + param + unit
	case "min", "gte":
		return "must be at least " + param + unit
	case "max", "lte":
		return "must be at most " + param + unit
	case "gt":
		if unit != "" {
			return "must be more than " + param + unit
		}
		return "must be greater than " + param
	case "lt":
		return "must be less than " + param + unit
	}
	return equal + param + unit
}

func list(param string) string {
	args := words.FindAllString(param, -1)
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "'", "") // as the validator does
	}
	return strings.Join(args, ", ")
}

// wireName returns the name by which clients know the field of parent that a
// rule names, or "" if they don't.
func wireName(parent reflect.Type, param string) string {
	if parent == nil {
		return ""
	}
	f, ok := parent.FieldByName(param)
	if !ok {
		return ""
	}
	tag, err := parseTag(f)
	if err != nil {
		return ""
	}
	return tag.name
}

var fieldMessages = map[string]string{
	"eqfield":       "must equal ",
	"nefield":       "must differ from ",
	"gtfield":       "must be greater than ",
	"gtefield":      "must not be less than ",
	"ltfield":       "must be less than ",
	"ltefield":      "must not be greater than ",
	"fieldcontains": "must contain the value of ",
	"fieldexcludes": "must not contain the value of ",
}

var plainMessages = map[string]string{ //nolint:gosec // texts about credentials, not credentials
	"required":             "is required",
	"required_if":          "is required here",
	"required_unless":      "is required here",
	"required_with":        "is required here",
	"required_with_all":    "is required here",
	"required_without":     "is required here",
	"required_without_all": "is required here",
	"excluded_if":          "must not be given here",
	"excluded_unless":      "must not be given here",
	"excluded_with":        "must not be given here",
	"excluded_with_all":    "must not be given here",
	"excluded_without":     "must not be given here",
	"excluded_without_all": "must not be given here",
	"isdefault":            "must not be given",
	"unique":               "must not have the same item twice",

	"alpha":           "must have ASCII letters only",
	"alphanum":        "must have ASCII letters and digits only",
	"alphaspace":      "must have ASCII letters and spaces only",
	"alphanumspace":   "must have ASCII letters, digits and spaces only",
	"alphaunicode":    "must have letters only",
	"alphanumunicode": "must have letters and digits only",
	"ascii":           "must have ASCII characters only",
	"printascii":      "must have printable ASCII characters only",
	"lowercase":       "must be in lower case",
	"uppercase":       "must be in upper case",
	"boolean":         "must be true or false",
	"number":          "must have digits only",
	"numeric":         "must be a number",
	"hexadecimal":     "must be hexadecimal",
	"base32":          "must be base32",
	"base64":          "must be base64",
	"base64url":       "must be base64url",
	"base64rawurl":    "must be base64url without padding",
	"json":            "must be JSON",
	"jwt":             "must be a JSON Web Token",

	"email":            "must be an email address",
	"e164":             "must be a phone number such as +15550100",
	"url":              "must be a URL",
	"http_url":         "must be an http or https URL",
	"https_url":        "must be an https URL",
	"uri":              "must be a URI",
	"origin":           "must be an origin such as https://example.com",
	"hostname":         "must be a host name",
	"hostname_rfc1123": "must be a host name",
	"hostname_port":    "must be a host name and a port",
	"fqdn":             "must be a fully qualified domain name",
	"ip":               "must be an IP address",
	"ipv4":             "must be an IPv4 address",
	"ipv6":             "must be an IPv6 address",
	"cidr":             "must be an IP network such as 192.0.2.0/24",
	"cidrv4":           "must be an IPv4 network such as 192.0.2.0/24",
	"cidrv6":           "must be an IPv6 network such as 2001:db8::/32",
	"mac":              "must be a MAC address",
	"port":             "must be a port number",
	"mimetype":         "must be a media type",
	"datauri":          "must be a data URI",

	"uuid":               "must be a UUID",
	"uuid3":              "must be a UUID of version 3",
	"uuid4":              "must be a UUID of version 4",
	"uuid5":              "must be a UUID of version 5",
	"uuid7":              "must be a UUID of version 7",
	"uuid_rfc4122":       "must be a UUID",
	"ulid":               "must be a ULID",
	"semver":             "must be a semantic version",
	"cron":               "must be a cron expression",
	"timezone":           "must be the name of a time zone",
	"latitude":           "must be a latitude",
	"longitude":          "must be a longitude",
	"iscolor":            "must be a color",
	"hexcolor":           "must be a color such as #336699",
	"credit_card":        "must be a card number",
	"isbn":               "must be an ISBN",
	"country_code":       "must be a country code",
	"iso3166_1_alpha2":   "must be a country code of two letters",
	"iso3166_1_alpha3":   "must be a country code of three letters",
	"iso4217":            "must be a currency code",
	"bcp47_language_tag": "must be a language tag",
}
