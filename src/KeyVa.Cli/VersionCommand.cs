using System.CommandLine;
using System.Reflection;
using System.Runtime.InteropServices;

namespace KeyVa.Cli;

/// <summary><c>version</c>. Stateless.</summary>
internal static class VersionCommand
{
    /// <summary>The version of this build.</summary>
    public static string Version { get; } =
        typeof(VersionCommand).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "unknown";

    public static Command Create(Session session) => CommandTree.Command(session, "version", "Tell the version of this program", [], Run);

    private static Task<int> Run(Invocation invocation)
    {
        if (invocation.Json)
        {
            invocation.WriteJson(json =>
            {
                json.WriteString("version"u8, Version);
                json.WriteString("runtime"u8, RuntimeInformation.FrameworkDescription);
                json.WriteString("platform"u8, RuntimeInformation.RuntimeIdentifier);
            });
        }
        else
        {
            invocation.Terminal.Out.WriteLine($"keyva {Version} ({RuntimeInformation.FrameworkDescription}, {RuntimeInformation.RuntimeIdentifier})");
        }

        return Task.FromResult(ExitCode.Done);
    }
}
