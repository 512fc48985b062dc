using Microsoft.Extensions.Primitives;

namespace KeyVa.Server;

/// <summary>The ways in which lists, batches and patches are written. Stateless.</summary>
internal static class MediaType
{
    internal const string Protobuf = "application/x-protobuf";

    /// <summary>A JSON merge patch (RFC 7396).</summary>
    internal const string MergePatch = "application/merge-patch+json";

    private const string ProtobufNew = "application/protobuf";

    /// <summary>Whether a Content-Type is JSON.</summary>
    internal static bool IsJson(string? contentType) => Is(contentType, RestJson.ContentType);

    /// <summary>Whether a Content-Type is that of a JSON merge patch.</summary>
    internal static bool IsMergePatch(string? contentType) => Is(contentType, MergePatch);

    /// <summary>Whether a Content-Type is protobuf.</summary>
    internal static bool IsProtobuf(string? contentType) => Is(contentType, Protobuf) || Is(contentType, ProtobufNew);

    /// <summary>
    /// Whether an answer is to be protobuf: Accept names it, and not JSON before it. Whoever accepts neither gets JSON.
    /// </summary>
    internal static bool AcceptsProtobuf(StringValues accept)
    {
        foreach (string? line in accept)
        {
            ReadOnlySpan<char> list = line;
            foreach (Range range in list.Split(','))
            {
                string one = list[range].Trim().ToString();
                if (IsProtobuf(one))
                {
                    return true;
                }

                if (IsJson(one))
                {
                    return false;
                }
            }
        }

        return false;
    }

    private static bool Is(string? contentType, string type) =>
        contentType is not null
        && contentType.StartsWith(type, StringComparison.OrdinalIgnoreCase)
        && (contentType.Length == type.Length || contentType[type.Length] is ';' or ' ');
}
