using KeyVa.Partitions;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>Which partitions a request of REST is about, as far as its target says so. Stateless.</summary>
internal static class RestKeys
{
    /// <summary>Adds the key or the range in a target; false: it has none, or cannot be read, for which it is refused where it is served.</summary>
    public static bool TryAdd(string method, in RestTarget target, TouchedPartitions touched)
    {
        if (target.Path.StartsWith(RestFrontDoor.KeyPrefix))
        {
            string[] parameters = HttpMethods.IsPut(method) ? RestQuery.PutParameters
                : HttpMethods.IsPatch(method) ? RestQuery.MergeParameters
                : HttpMethods.IsDelete(method) ? RestQuery.KeyParameters
                : RestQuery.GetParameters;
            return TryAddKey(target.Path[RestFrontDoor.KeyPrefix.Length..], target.Query, parameters, touched);
        }

        if (target.Path.StartsWith(RestPast.HistoryPrefix))
        {
            return TryAddKey(target.Path[RestPast.HistoryPrefix.Length..], target.Query, RestQuery.HistoryParameters, touched);
        }

        if (target.Path is not RestRoutes.List || !RestQuery.TryParse(target.Query, HttpMethods.IsDelete(method) ? RestQuery.RemoveParameters : RestQuery.ListParameters, out RestQuery? query, out _))
        {
            return false;
        }

        touched.Add(query.Prefix, query.From, query.To);
        return true;
    }

    private static bool TryAddKey(ReadOnlySpan<char> path, ReadOnlySpan<char> text, string[] parameters, TouchedPartitions touched)
    {
        if (!RestQuery.TryParse(text, parameters, out RestQuery? query, out _) || !RestKey.TryDecode(path, query.Base64, out RestKey key, out _))
        {
            return false;
        }

        touched.Add(key.Span);
        key.Dispose();
        return true;
    }
}
