using System.CommandLine;
using KeyVa.Cluster.Transport.ZeroMq;

namespace KeyVa.Cli;

/// <summary><c>keygen</c>: the keys by which nodes of a cluster know each other. Stateless.</summary>
internal static class KeygenCommand
{
    public static Command Create(Session session)
    {
        Argument<string> file = new("FILE") { Description = "Where the node's keys are, or shall be: a file of its own that only its owner can read" };
        Option<bool> show = new("--show") { Description = "Print the public key of the keys that are in FILE already" };
        return CommandTree.Command(
            session,
            "keygen",
            "Make the keys of a cluster's node and print the public one, which the other nodes' configuration names. FILE is never written over",
            [file, show],
            invocation => Task.FromResult(Run(invocation, invocation.Get(file), invocation.Get(show))));
    }

    private static int Run(Invocation invocation, string file, bool show)
    {
        NodeKeys keys;
        if (show)
        {
            keys = NodeKeys.Load(file);
        }
        else
        {
            keys = NodeKeys.Create();
            keys.Save(file);
        }

        if (invocation.Json)
        {
            invocation.WriteJson(json =>
            {
                json.WriteString("file"u8, file);
                json.WriteString("publicKey"u8, keys.PublicKey);
            });
        }
        else
        {
            invocation.Terminal.Out.WriteLine(keys.PublicKey);
        }

        return ExitCode.Done;
    }
}
