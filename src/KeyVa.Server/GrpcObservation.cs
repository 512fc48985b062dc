using System.Diagnostics;
using System.Text;
using Google.Protobuf;
using KeyVa.Measurements;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>A gRPC call that has ended, for those who observe it. The request is null where there was a stream of them.</summary>
internal readonly struct GrpcObservation(GrpcCallContext call, object? request, GrpcStatusCode code) : IObservedRequest
{
    public string Peer => HttpObservation.PeerOf(call.HttpContext);

    public string ClientName => "";

    public string Outcome => code.ToString();

    public ActivityContext Parent => HttpObservation.ParentOf(call.HttpContext);

    public WriteTimes? Times => HttpObservation.TimesOf(call.HttpContext);

    public ReadTimes? Reads => ReadTimes.Of(call.HttpContext);

    public bool HasSecrets => false;

    public byte[][] Arguments() => Key() is { } key ? [Encoding.ASCII.GetBytes(Method()), key.ToByteArray()] : [Encoding.ASCII.GetBytes(Method())];

    public string Target() => Key() is { } key ? $"{Method()} {Shown(key.Span)}" : Method();

    /// <summary>Bytes as text where they are some, as hexadecimal digits where they are not; long ones are cut.</summary>
    internal static string Shown(ReadOnlySpan<byte> bytes)
    {
        const int Most = 128;
        ReadOnlySpan<byte> shown = bytes[..Math.Min(bytes.Length, Most)];
        string text = shown.IndexOfAnyExceptInRange((byte)' ', (byte)'~') < 0 ? Encoding.ASCII.GetString(shown) : "0x" + Convert.ToHexStringLower(shown);
        return shown.Length < bytes.Length ? text + "..." : text;
    }

    private string Method() => call.Path[(call.Path.LastIndexOf('/') + 1)..];

    // The first key, or where a range begins.
    private ByteString? Key() => request switch
    {
        GetRequest { Keys.Count: > 0 } get => get.Keys[0],
        UpsertRequest { Puts.Count: > 0 } upsert => upsert.Puts[0].Key,
        RemoveRequest { Removals.Count: > 0 } remove => remove.Removals[0].Key,
        ScanRequest scan => scan.Prefix,
        HistoryRequest history => history.Key,
        _ => null,
    };
}
