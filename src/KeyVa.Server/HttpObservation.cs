using System.Diagnostics;
using System.Globalization;
using System.Text;
using KeyVa.Measurements;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace KeyVa.Server;

/// <summary>A REST request that has ended, for those who observe it.</summary>
internal readonly struct HttpObservation(HttpContext context) : IObservedRequest
{
    // In the items of the request: rare, since only writes that took long say where their time went.
    private static readonly object TimesKey = new();

    public string Peer => PeerOf(context);

    public string ClientName => "";

    public string Outcome => context.Response.StatusCode.ToString(CultureInfo.InvariantCulture);

    public ActivityContext Parent => ParentOf(context);

    public WriteTimes? Times => TimesOf(context);

    public ReadTimes? Reads => ReadTimes.Of(context);

    public bool HasSecrets => false;

    public byte[][] Arguments() => [Encoding.UTF8.GetBytes(context.Request.Method), Encoding.UTF8.GetBytes(Path())];

    public string Target() => $"{context.Request.Method} {Path()}";

    /// <summary>Notes where the time of a request's write went.</summary>
    public static void Note(HttpContext context, WriteTimes? times)
    {
        if (times is not null)
        {
            context.Items[TimesKey] = times;
        }
    }

    internal static WriteTimes? TimesOf(HttpContext context) =>
        context.Items.TryGetValue(TimesKey, out object? times) ? (WriteTimes?)times : null;

    internal static string PeerOf(HttpContext context) =>
        context.Connection.RemoteIpAddress is { } address ? new System.Net.IPEndPoint(address, context.Connection.RemotePort).ToString() : "";

    internal static ActivityContext ParentOf(HttpContext context) =>
        ActivityContext.TryParse(context.Request.Headers.TraceParent, context.Request.Headers.TraceState, isRemote: true, out ActivityContext parent) ? parent : default;

    // Percent-encoded as it came: a key may be no text. What follows the question mark may hold values.
    private string Path() => RestTarget.Split(context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget).Path.ToString();
}
