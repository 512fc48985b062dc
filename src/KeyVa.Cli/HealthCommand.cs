using System.CommandLine;

namespace KeyVa.Cli;

/// <summary><c>health</c>: whether a server serves, as an exit code: for containers and scripts. Stateless.</summary>
internal static class HealthCommand
{
    public static Command Create(Session session) => CommandTree.Command(
        session, "health", "Say whether the server reads and writes: exit code 0 if so, 4 if it says that it does not, 3 if it does not answer", [], RunAsync);

    private static async Task<int> RunAsync(Invocation invocation)
    {
        bool serves = await invocation.Store.IsServingAsync(invocation.Cancellation);
        if (invocation.Json)
        {
            invocation.WriteJson(json => json.WriteBoolean("serving"u8, serves));
        }
        else
        {
            invocation.Terminal.Out.WriteLine(serves ? "serving" : "not serving; the server's log says why");
        }

        return serves ? ExitCode.Done : ExitCode.Refused;
    }
}
