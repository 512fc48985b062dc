using System.Buffers;
using System.Globalization;
using System.Text.Json;
using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>
/// An answer that says why a request was not done: application/problem+json (RFC 9457) with two members more, the
/// store's status and, for batches, the operation that was refused. Immutable.
/// </summary>
internal sealed class Problem
{
    /// <summary>Seconds after which a request that met a full queue may be sent again.</summary>
    internal const string RetryAfterSeconds = "1";

    private const string ContentType = "application/problem+json";
    private const string TypePrefix = "urn:keyva:problem:";

    private readonly int _httpStatus;
    private readonly string _name;
    private readonly string _title;
    private readonly string _detail;

    private Problem(int httpStatus, string name, string title, string detail)
    {
        _httpStatus = httpStatus;
        _name = name;
        _title = title;
        _detail = detail;
    }

    /// <summary>Where the request is better sent; null: nowhere.</summary>
    private Elsewhere? _elsewhere;

    /// <summary>After a failed condition: the version of the key as it is, 0 if it does not exist.</summary>
    public long? CurrentVersion { get; init; }

    /// <summary>After a refusal for being forgotten: everything can be read from this version on; 0: not known.</summary>
    public long BeginsAtVersion { get; init; }

    /// <summary>The operation of a batch that was refused, counted from 0.</summary>
    public int? FailedOperation { get; init; }

    /// <summary>Of a write that came less far than it was to: how far; none if nothing is known.</summary>
    public WriteReceipt Receipt { get; private init; }

    /// <summary>After a conflict: the key that another has changed.</summary>
    public ReadOnlyMemory<byte>? ConflictKey { get; private init; }

    /// <summary>After a refusal for coming too often: when to come back.</summary>
    public TimeSpan RetryAfter { get; init; }

    /// <summary>The methods that the resource has, for 405.</summary>
    public string? Allow { get; private init; }

    /// <summary>A refusal by the store.</summary>
    public static Problem Of(Status status, string? detail = null) =>
        new(StatusNames.Http(status), StatusNames.Wire(status), StatusNames.Title(status), detail ?? StatusNames.Detail(status));

    /// <summary>A write that was refused by the store; of a batch, the operation is named.</summary>
    public static Problem Of(in WriteResult result, bool batch = false) => new(
        StatusNames.Http(result.Status), StatusNames.Wire(result.Status), StatusNames.Title(result.Status),
        result.Detail ?? StatusNames.Detail(result.Status))
    {
        CurrentVersion = result.Status == Status.ConditionFailed ? result.CurrentVersion : null,
        FailedOperation = batch && result.FailedOperation >= 0 ? result.FailedOperation : null,
        Receipt = result.Receipt,
    };

    /// <summary>A refusal to read what was, or to go back to it.</summary>
    public static Problem Past(Status status, string? detail, long beginsAtVersion) =>
        new(StatusNames.Http(status), StatusNames.Wire(status), StatusNames.Title(status), detail ?? StatusNames.Detail(status)) { BeginsAtVersion = beginsAtVersion };

    /// <summary>A commit that was refused; after a conflict, the key is named.</summary>
    public static Problem Of(in CommitResult result) => new(
        StatusNames.Http(result.Status), StatusNames.Wire(result.Status), StatusNames.Title(result.Status),
        result.Detail ?? StatusNames.Detail(result.Status))
    {
        ConflictKey = result is { Status: Status.Conflict, ConflictKey.IsEmpty: false } ? result.ConflictKey : default(ReadOnlyMemory<byte>?),
    };

    /// <summary>The id of no transaction.</summary>
    public static Problem NoTransaction() => new(
        StatusCodes.Status404NotFound, StatusNames.Wire(Status.NotFound), "There is no such transaction", TransactionIds.Unknown);

    /// <summary>A refusal by an index, or to make one.</summary>
    public static Problem Index(Status status, string? detail) => new(
        StatusNames.Http(status),
        StatusNames.Wire(status),
        status == Status.NotFound ? "There is no such index" : StatusNames.Title(status),
        detail ?? StatusNames.Detail(status));

    /// <summary>A refusal to change a user, or one that there is not.</summary>
    public static Problem User(Status status, string detail) => new(
        StatusNames.Http(status),
        StatusNames.Wire(status),
        status == Status.NotFound ? "There is no such user" : StatusNames.Title(status),
        detail);

    /// <summary>A request whose caller would rather go where its partition is led.</summary>
    public static Problem Elsewhere(Elsewhere elsewhere) => new(
        StatusNames.Http(elsewhere.Status),
        StatusNames.Wire(elsewhere.Status),
        elsewhere.Status == Status.BadNode ? "Another node leads" : StatusNames.Title(elsewhere.Status),
        elsewhere.Detail)
    {
        _elsewhere = elsewhere,
    };

    /// <summary>A request that cannot be read.</summary>
    public static Problem Malformed(string detail) => Of(Status.Invalid, detail);

    /// <summary>A refusal by the gate.</summary>
    public static Problem Refused(Status status, string detail, TimeSpan retryAfter) =>
        new(StatusNames.Http(status), StatusNames.Wire(status), StatusNames.Title(status), detail) { RetryAfter = retryAfter };

    /// <summary>A refusal that HTTP has a status for and the store has not.</summary>
    public static Problem Http(int status, string title, string detail) => new(status, "invalid", title, detail);

    /// <summary>A method that the resource does not have.</summary>
    public static Problem MethodNotAllowed(string method, string allowed) => new(
        StatusCodes.Status405MethodNotAllowed, "invalid", "Method not allowed", $"{method} is not possible here; allowed is: {allowed}")
    {
        Allow = allowed,
    };

    /// <summary>The store or the machine below it failed.</summary>
    public static Problem Failure(string detail) => Of(Status.Failed, detail);

    /// <summary>Answers with the problem.</summary>
    public Task WriteAsync(HttpContext context)
    {
        HttpResponse response = context.Response;
        response.Clear();
        response.StatusCode = _httpStatus;
        response.ContentType = ContentType;
        if (RetryAfter > TimeSpan.Zero)
        {
            response.Headers.RetryAfter = Math.Ceiling(RetryAfter.TotalSeconds).ToString("F0", CultureInfo.InvariantCulture);
        }
        else if (_httpStatus == StatusCodes.Status503ServiceUnavailable)
        {
            response.Headers.RetryAfter = RetryAfterSeconds;
        }

        if (_httpStatus == StatusCodes.Status401Unauthorized)
        {
            response.Headers.WWWAuthenticate = HttpCredentials.Challenge;
        }

        if (Allow is not null)
        {
            response.Headers.Allow = Allow;
        }

        if (_elsewhere?.Address is { Length: > 0 } address)
        {
            response.Headers[LeaderRouting.LeaderHeader] = address;
        }

        Receipts.Add(response.Headers, Receipt);
        ArrayBufferWriter<byte> body = new(512);
        using (Utf8JsonWriter json = new(body, RestJson.WriterOptions))
        {
            WriteBody(json);
        }

        response.ContentLength = body.WrittenCount;

        // Exactly: to the server "HEAd" is another method, whose answer has the body that was announced.
        return context.Request.Method == HttpMethods.Head
            ? Task.CompletedTask
            : response.BodyWriter.WriteAsync(body.WrittenMemory).AsTask();
    }

    private void WriteBody(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", TypePrefix + _name);
        json.WriteString("title", _title);
        json.WriteNumber("status", _httpStatus);
        json.WriteString("detail", _detail);
        json.WriteString("keyva-status", _name);
        if (CurrentVersion is { } version)
        {
            json.WriteNumber("currentVersion", version);
        }

        if (FailedOperation is { } operation)
        {
            json.WriteNumber("operation", operation);
        }

        if (BeginsAtVersion != 0)
        {
            json.WriteNumber("beginsAtVersion", BeginsAtVersion);
        }

        if (ConflictKey is { } key)
        {
            RestJson.WriteConflictKey(json, key.Span);
        }

        if (_elsewhere is { Leader: not 0 } elsewhere)
        {
            json.WriteStartObject("leader");
            json.WriteNumber("node", elsewhere.Leader);
            foreach ((string name, string value) in elsewhere.Doors)
            {
                json.WriteString(name, value);
            }

            json.WriteEndObject();
        }

        json.WriteEndObject();
    }
}
