using System.Diagnostics;
using System.Globalization;
using KeyVa.Server.Admission;
using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.Features.Authentication;

namespace KeyVa.Server;

/// <summary>
/// Stands in front of a listener of HTTP: finds out who asks, whether it may ask for this at all, and whether it comes too often; only then is anything
/// of the request's body read. Which keys it may use is decided behind it, when they are known. Thread-safe.
/// </summary>
/// <param name="authenticator">Tells who asks.</param>
/// <param name="limits">How many connections and requests the listener takes at once.</param>
/// <param name="rates">How often who may come.</param>
/// <param name="audit">Where calls of the control plane are noted.</param>
/// <param name="find">The entry of a request in the table of permissions.</param>
/// <param name="isGrpc">Whether refusals are statuses of gRPC; otherwise they are problems.</param>
internal sealed class HttpGate(
    Authenticator authenticator, ConnectionLimits limits, RateLimits rates, AuditLog audit, Func<HttpContext, Permission> find, bool isGrpc)
{
    /// <summary>Among the items of a request: what it is done to, for the audit log.</summary>
    public static readonly object TargetItem = new();

    private const string WrongCredentials = "the name or password is wrong, or the token is not known";

    private static readonly TimeSpan InFlightPause = TimeSpan.FromMilliseconds(100);

    /// <summary>How many connections and requests the listener takes at once.</summary>
    public ConnectionLimits Limits => limits;

    /// <summary>How often who may come.</summary>
    public RateLimits Rates => rates;

    /// <summary>Tells who asks.</summary>
    public Authenticator Authenticator => authenticator;

    /// <summary>What answers a request that is let through.</summary>
    public required RequestDelegate Next { get; init; }

    public Task HandleAsync(HttpContext http)
    {
        HttpConnection connection = http.Features.GetRequiredFeature<HttpConnection>();
        Permission permission = find(http);
        return connection.TryIdentify(http) is { } spoken
            ? AdmitAsync(http, connection, permission, spoken)
            : IdentifyAsync(http, connection, permission);
    }

    private async Task IdentifyAsync(HttpContext http, HttpConnection connection, Permission permission)
    {
        (Spoken? spoken, ProofResult result) = await connection.IdentifyAsync(http);
        if (spoken is not null)
        {
            await AdmitAsync(http, connection, permission, spoken);
            return;
        }

        // Even for what is open to all: a probe that is set up with a wrong password should find out.
        Caller nobody = Caller.Anonymous(authenticator.Users, connection.Address.Text);
        await (result.Proof == Proof.TooMany
            ? RefuseAsync(http, nobody, permission, Status.RateLimited, "too many wrong passwords came from this address, or too many wait to be checked", result.RetryAfter)
            : RefuseAsync(http, nobody, permission, Status.Unauthenticated, WrongCredentials, TimeSpan.Zero));
    }

    private Task AdmitAsync(HttpContext http, HttpConnection connection, Permission permission, Spoken spoken)
    {
        Caller caller = spoken.Caller;
        if (!permission.IsOpen && !spoken.PaidOn(permission.CountedOn).TryEnter(out TimeSpan retryAfter))
        {
            rates.NoteRefused();
            return RefuseAsync(http, caller, permission, Status.RateLimited, string.Create(CultureInfo.InvariantCulture, $"a limit of requests or bytes is reached; come back in {Math.Ceiling(retryAfter.TotalMilliseconds)} ms"), retryAfter);
        }

        Verdict verdict = Authority.Decide(caller, permission);
        if (verdict != Verdict.Allowed)
        {
            return verdict == Verdict.Unknown
                ? RefuseAsync(http, caller, permission, Status.Unauthenticated, StatusNames.Detail(Status.Unauthenticated), TimeSpan.Zero)
                : RefuseAsync(http, caller, permission, Status.PermissionDenied, Denial.Of(caller, permission), TimeSpan.Zero);
        }

        if (!limits.TryBeginRequest(connection.Address))
        {
            return RefuseAsync(http, caller, permission, Status.RateLimited, "too many requests are under way; come back later", InFlightPause);
        }

        http.Features.Set<IHttpAuthenticationFeature>(caller);
        Task answer;
        try
        {
            answer = permission.IsAudited ? AnswerAuditedAsync(http, caller, permission) : Next(http);
        }
        catch
        {
            limits.EndRequest(connection.Address);
            throw;
        }

        if (answer.IsCompletedSuccessfully)
        {
            limits.EndRequest(connection.Address);
            return Task.CompletedTask;
        }

        return EndAsync(answer, connection);
    }

    private async Task EndAsync(Task answer, HttpConnection connection)
    {
        try
        {
            await answer;
        }
        finally
        {
            limits.EndRequest(connection.Address);
        }
    }

    private async Task AnswerAuditedAsync(HttpContext http, Caller caller, Permission permission)
    {
        long began = Stopwatch.GetTimestamp();
        string outcome = "aborted";
        try
        {
            await Next(http);
            outcome = Outcome(http);
        }
        finally
        {
            audit.Note(caller, permission, Target(http), outcome, Stopwatch.GetElapsedTime(began));
        }
    }

    private Task RefuseAsync(HttpContext http, Caller caller, Permission permission, Status status, string detail, TimeSpan retryAfter)
    {
        if (permission.IsAudited)
        {
            audit.Note(caller, permission, Target(http), StatusNames.Wire(status), TimeSpan.Zero);
        }

        if (isGrpc)
        {
            GrpcRefusal.Write(http, status, detail, retryAfter);
            return Task.CompletedTask;
        }

        return Problem.Refused(status, detail, retryAfter).WriteAsync(http);
    }

    private string Outcome(HttpContext http)
    {
        if (!isGrpc)
        {
            return http.Response.StatusCode.ToString(CultureInfo.InvariantCulture);
        }

        string status = http.Response.Headers.GrpcStatus.ToString();
        if (status.Length == 0)
        {
            status = http.Features.GetRequiredFeature<IHttpResponseTrailersFeature>().Trailers.GrpcStatus.ToString();
        }

        return status.Length == 0 ? "aborted" : status == "0" ? "ok" : $"grpc-{status}";
    }

    private string Target(HttpContext http) =>
        http.Items.TryGetValue(TargetItem, out object? target) ? (string)target!
        : isGrpc ? ""
        : RestTarget.Split(http.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget).Path.ToString();
}
