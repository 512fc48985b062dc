using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using KeyVa.Cluster;

namespace KeyVa.Server;

/// <summary>The nodes of a cluster as one writes them: <c>1=10.0.0.1:7404,2=10.0.0.2:7404</c>. Stateless.</summary>
internal static class PeerList
{
    internal static bool TryParse(string text, [NotNullWhen(true)] out Dictionary<long, ClusterPeer>? peers)
    {
        peers = [];
        if (text.Length == 0)
        {
            return true;
        }

        foreach (string part in text.Split(','))
        {
            int equals = part.IndexOf('=', StringComparison.Ordinal);
            if (equals < 1 || !long.TryParse(part.AsSpan(0, equals).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long node) || node is < 1 or > int.MaxValue
                || !ClusterPeer.TryParse(part[(equals + 1)..].Trim(), out ClusterPeer? peer) || !peers.TryAdd(node, peer!))
            {
                peers = null;
                return false;
            }
        }

        return true;
    }
}
