package errors

// ProblemTypes returns the types of the problems that the packages of this module answer
// with, for a [Registry]. Errors of the token endpoint have the form of RFC 6749 and are not
// among them.
func ProblemTypes() []ProblemType {
	return []ProblemType{
		{"authentication_unavailable", "Authentication is not available", 503, "Whether the credentials are valid can't be told at the moment. Keep them, and send the request again after Retry-After."},
		{"authorization_unavailable", "Authorization is not available", 503, "Whether the credentials allow the request can't be told at the moment. Send it again after Retry-After."},
		{"body_required", "A body is required", 400, "The request needs a body, and has none."},
		{"body_too_large", "The body is too large", 413, "The body is larger than the service takes. Send less."},
		{"client_closed_request", "The client has gone", 499, "The client has closed the connection before there was an answer. No client sees this."},
		{"concurrency_limited", "Too many requests at a time", 429, "As many requests of this client as may be are being served. Wait for one of them to end."},
		{"cost_too_high", "The request costs too much", 413, "The request costs more than the quota ever allows at once. Ask for less."},
		{"credentials_ended", "The credentials have ended", 403, "The credentials expired or were revoked while the answer was being sent. Get new ones."},
		{"credentials_invalid", "The credentials are not valid", 401, "The credentials are wrong, have expired or were revoked. WWW-Authenticate says which are taken."},
		{"credentials_missing", "Credentials are required", 401, "The request has no credentials. WWW-Authenticate says which are taken."},
		{"cross_origin", "The request comes from another origin", 403, "A page of another origin has made a browser send this request, which such pages may not."},
		{"dependency_timeout", "A dependency took too long", 504, "A service that this one depends on did not answer in time. The request may be sent again if that does no harm."},
		{"forbidden", "Not allowed", 403, "The credentials are valid, and don't allow this."},
		{"host_not_served", "The host is not served", 421, "The request names a host that this server does not serve."},
		{"https_required", "HTTPS is required", 403, "The request came over plain HTTP. What it contained is known to others: change credentials that were in it."},
		{"insufficient_scope", "A scope is missing", 403, "The credentials lack a scope that this needs. The member scope names those that are needed."},
		{"insufficient_user_authentication", "A stronger or newer authentication is required", 401, "The user must authenticate again (RFC 9470). The members acr_values and max_age say how."},
		{"internal_error", "Internal error", 500, "The service has failed. Its log has the cause under the error_id."},
		{"invalid_body", "The body is not in the expected form", 400, "The member errors lists the places and what is wrong there."},
		{"invalid_parameter", "A parameter is not in the expected form", 400, "The member errors lists the places and what is wrong there."},
		{"invalid_request", "The credentials are sent in a way that can't be read", 400, "There is more than one of them, or they are malformed."},
		{"limiter_unavailable", "The limit can't be counted", 503, "Whether the request is within its limit can't be told at the moment. Send it again after Retry-After."},
		{"malformed_body", "The body is malformed", 400, "The body could not be read as what it says it is. The detail says where."},
		{"method_not_allowed", "The method is not allowed", 405, "Allow says which methods are."},
		{"not_found", "Not found", 404, "There is nothing here by that name."},
		{"overloaded", "The service is overloaded", 503, "The service has as much to do as it can. Send the request again after Retry-After."},
		{"path_not_plain", "The path can be read in several ways", 400, "The path has encoded dots or slashes, empty segments or the like. Send it in its plain form."},
		{"rate_limited", "Too many requests", 429, "The quota is used up. Retry-After says when the request would be allowed."},
		{"request_timeout", "The request came too slowly", 408, "The request was not there in time. It may be sent again on another connection."},
		{"timeout", "The request took too long", 503, "The request was given up. It may be sent again if that does no harm."},
		{"too_many_attempts", "Too many attempts", 429, "There were too many attempts to log in. Retry-After says when the next one is looked at."},
		{"unsupported_media_type", "The body is of a type that is not taken", 415, "Accept says which types are taken, and Accept-Encoding which content codings."},
		{"uri_too_long", "The target is too long", 414, "The request's target is longer than the service takes."},
		{"validation_failed", "The request breaks rules", 422, "The member errors lists the fields and the rules that they break."},
	}
}
