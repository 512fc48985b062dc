using System.Text;

namespace KeyVa.Server;

/// <summary>docs/configuration.md, as it follows from the schema: <c>keyva config reference</c> prints it, a test holds the page against it. Stateless.</summary>
public static class ConfigurationReference
{
    /// <summary>The page.</summary>
    public static string Markdown()
    {
        StringBuilder text = new(
            """
            # Configuration

            Made by `keyva config reference` (`make docs`) from the table that the server reads its settings with; do not edit it by hand.

            A flag wins over the environment, that over the file, that over the default. The first unknown or wrong setting of any source stops the
            start with exit code 2 and names the key, also where a stronger source overrides it. `keyva config show` prints every setting of a running
            server with its value and where that comes from; `keyva config show --offline` does the same for one that would be started here.

            - **File**: `keyva.json` in the working directory if it is there, or the one named by `--config` or `KEYVA_CONFIG`. One JSON object; comments
              and trailing commas are allowed: `{"data": "/var/lib/keyva", "durability": "interval", "sync-interval": "50ms"}`
            - **Environment**: `KEYVA_` and the name in capitals, hyphens as underscores: `KEYVA_SYNC_INTERVAL=50ms`.
            - **Flags**: `keyva serve --sync-interval 50ms`.
            - **Run time**: settings marked so can be changed while the server runs, by `keyva config set NAME VALUE`, `PUT /config/NAME` over REST,
              `SetConfig` of the gRPC control plane, or CONFIG SET of a Redis client where Redis has such an option. A change counts until the server
              stops and is written nowhere; whoever wants to keep it puts it into the file as well.

            | setting | default | allowed | run time | what it does |
            |---|---|---|---|---|

            """);
        foreach (Setting setting in SettingsSchema.All)
        {
            text.Append($"| `{setting.Name}`, `{setting.Flag}`, `{setting.EnvironmentVariable}` | `{setting.Default}` ")
                .Append($"| {Escaped(setting.Allowed)} | {(setting.ChangeableAtRunTime ? "yes" : "")} | {Escaped(setting.Description)} |\n");
        }

        text.Append(
            """

            Sizes are whole numbers with B, KiB, MiB, GiB or TiB, or bytes without a unit. Times have ms, s, m, h or d. Addresses are an IP address,
            `localhost` or `*`, and a port; port 0 takes any free one. What settings mean for the disk, memory and clients: [operations.md](operations.md).

            """);
        return text.ToString();
    }

    private static string Escaped(string text) => text.Replace("*", "`*`", StringComparison.Ordinal).Replace("|", "\\|", StringComparison.Ordinal);
}
